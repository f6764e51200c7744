"""The style of the report page: one sheet, no file beside it, light and dark, paper and phone.

Lives here: colours and layout. Keep out: what is shown. The colours of splits are of Okabe and Ito's palette, which
people with any colour vision tell apart; none of them stands without a word or a number beside it.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--panel:#f5f6f8;--line:#d5d9de;--ink:#1b1f23;--quiet:#555d66;--link:#005a8d;
--train:#0072b2;--validation:#e69f00;--test:#009e73;--dropped:#d55e00;--warn-ground:#fff4dc;--warn-line:#b57b00}
@media (prefers-color-scheme:dark){:root{--ground:#14171a;--panel:#1e2328;--line:#3a424a;--ink:#e9ecef;--quiet:#aab3bc;
--link:#7cc4f0;--train:#56b4e9;--validation:#e69f00;--test:#2cc295;--dropped:#ff8d4d;--warn-ground:#33290f;--warn-line:#d9a528}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .5rem}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
a{color:var(--link)}
code{font:.9em ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.quiet{color:var(--quiet);font-size:.9rem}
.note{background:var(--warn-ground);border-left:4px solid var(--warn-line);padding:.6rem .9rem;margin:1rem 0;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.75rem;margin:1.25rem 0}
.tile{background:var(--panel);border-radius:.4rem;padding:.6rem .8rem}
.tile b{display:block;font-size:1.45rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--quiet);font-size:.85rem}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem 0;font-size:.9rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
.bars{margin:.5rem 0}
.bars.many{columns:2 20rem;column-gap:2rem}.bars.many .row{grid-template-columns:minmax(0,11fr) minmax(0,7fr) 6rem}
.row{display:grid;grid-template-columns:minmax(6rem,11rem) minmax(0,1fr) minmax(3.5rem,auto);gap:0 .75rem;align-items:center;
padding:.12rem 0;break-inside:avoid;font-size:.95rem}
.row .name{overflow-wrap:anywhere;line-height:1.25}
.row .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.row .more{grid-column:2/-1;color:var(--quiet);font-size:.85rem;line-height:1.35;overflow-wrap:anywhere;padding-bottom:.35rem}
svg.bar{display:block;width:100%;height:.85rem;background:var(--panel);border-radius:2px}
svg.plot{display:block;width:100%;max-width:40rem;height:auto;margin:.5rem 0}
svg.plot text{fill:var(--ink);font-size:13px;font-family:inherit}
svg.plot text.quiet{fill:var(--quiet);font-size:12px}
.axis{stroke:var(--line);stroke-width:1;fill:none}
.train{fill:var(--train);background:var(--train)}.validation{fill:var(--validation);background:var(--validation)}
.test{fill:var(--test);background:var(--test)}.dropped{fill:var(--dropped);background:var(--dropped)}
.curve{stroke:var(--train);stroke-width:2.5;fill:none}.curve.second{stroke:var(--validation);stroke-dasharray:6 4}
.band{fill:var(--train);opacity:.18}
.base{stroke:var(--quiet);stroke-width:1.5;stroke-dasharray:2 4}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;margin:.5rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line)}
td.long{overflow-wrap:anywhere;min-width:12rem}
th{color:var(--quiet);font-weight:600}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;overflow-wrap:normal}
ul{padding-left:1.2rem;margin:.5rem 0}
li{overflow-wrap:anywhere}
@media (max-width:34rem){.row,.bars.many .row{grid-template-columns:minmax(0,1fr) auto}.row .name{grid-column:1}.row .number{grid-column:2;grid-row:1}
.row .shape,.row .more{grid-column:1/-1}td,th{padding-right:.5rem}}
@media print{:root{--ground:#fff;--panel:#eef0f2;--line:#c8ccd1;--ink:#000;--quiet:#444;--link:#000;--train:#0072b2;
--validation:#e69f00;--test:#009e73;--dropped:#d55e00;--warn-ground:#fff;--warn-line:#b57b00}
body{font-size:11pt}main{max-width:none;padding:0}svg,.tile,.legend i{print-color-adjust:exact;-webkit-print-color-adjust:exact}
h2{break-after:avoid}svg.plot,.tiles,tr{break-inside:avoid}}
"""
