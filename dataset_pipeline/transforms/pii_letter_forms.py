"""The forms in which a text gives names: salutations, closings, signatures, introductions, in a handful of languages.

Lives here: patterns, each with a group `names`, and the words that stand in a name's place and are none. Keep out: which of the
words matched are a name (`pii_letters`).
"""

from __future__ import annotations

import re

NOT_NAMES = frozenset(
    """
    a again all alle amigo amigos and any anybody anyone applicant author best both boss buddy business candidate care
    case class client cliente clientes clients co colleague colleagues commander committee company council crew customer
    customers dad damen dear department desk diary director dude editor employee employees equipo everybody everyone
    family fellow fellows finance folks freund freunde friend friends from gang gentlemen god group guest guests guys
    happy headquarters help helpdesk herren hi hiring hola homeowner hr human i inc info investor it kind kolleginnen
    kollegen kunde kunden kundin kundenservice kundendienst ladies landlord leader leads legal leser leute limited llc
    local love ltd madam madame mailbox maintainer maintainers management manager managers mate mates member members
    mesdames messieurs miss mitarbeiter mods moderator moderators mom mother mum my neighbor neighbors neighbour
    neighbours office officer operations operator organizer organizers orders our owner parent parents partner partners
    payroll people please pupils reader readers recruiter recruitment reception registrar regards resident residents
    resources respected sales santa secretary security seller sender sent señor señora señores server service services
    shareholder shop shopper sir sirs staff stranger store student students subscriber subscribers supplier support
    supporters talent teacher teachers team teams tenant tenants thank thanks the there tier todas todos tous toutes
    traveler traveller treasurer trustees user users valued vendor vendors viewer viewers visitor volunteers volunteer
    webmaster we welcome whoever winner world you your yours yall zusammen équipe account accounts admin administrator
    agent answer assistant bank billing board bot chief community concern contact corp data delivery desk developer
    developers enterprise gmbh it lovely morning evening afternoon night monday tuesday wednesday thursday friday
    saturday sunday january february march july september october november december no ok okay
    grüße grüßen gruß gruss dank eure euer ihr ihre abteilung department plumbing cleaning purchasing bakery
    thanks yeah hotel restaurant store cheers sincerely freundlichen grüssen xoxo hello bonjour hallo moin cordialement bye goodbye
    sorry klant klanten klantenservice klantendienst servizio clienti cliente facilities google siri alexa appetite remarks
    yes not so still just very also then now here how what when where why who this that these those is are was were
    """.split()  # noqa: SIM905
)
"""What people write where a name would stand; a phrase with one of these words names nobody."""

_TITLE = (
    r"(?:(?:mr|mrs|ms|miss|mx|dr|prof|professor|doctor|sir|madam|herrn?|frau|monsieur|madame|mme|mlle|m|sr|sra|srta|"
    r"señora?|don|doña|captain|capt|rev|reverend|father|sister|brother|aunt|uncle|heer|mevrouw|dott(?:oressa|ore)?|signor[ae]?|avv|ing)\b\.?)"
)
_WORD = r"[^\W\d_](?:[^\W\d_]|['\u2019-](?=[^\W\d_]))*\.?"
_NAME = rf"{_WORD}(?:[ \t]+{_WORD}){{0,3}}"
_TITLED = rf"(?:{_TITLE}[ \t]+)?{_NAME}"
AND = re.compile(r"[ \t]*[,&/][ \t]*|[ \t]+(?:and|und|et|y|e|or)[ \t]+", re.IGNORECASE)
_AND = rf"(?:{AND.pattern})"
TITLES = re.compile(rf"(?:{_TITLE}(?:{_AND}{_TITLE})*[ \t]+)+", re.IGNORECASE)
_MARKS = r"[ \t>*\"'\u201c(]*"
_END = r"(?=[ \t]*(?:\n|$))"

_GREETING = (
    r"(?:(?:dear|hi+|hello|hey+|hiya|howdy|yo|greetings|good\s(?:morning|afternoon|evening|day)|morning|afternoon|hallo|liebe[rs]?|"
    r"(?:sehr\s)?geehrte[rs]?|geachte|guten\s(?:morgen|tag|abend)|moin|servus|bonjour|bonsoir|coucou|ch[eè]re?|salut|hola|buenos\sd[ií]as|"
    r"buenas(?:\s(?:tardes|noches))?|estimad[oa]|querid[oa]|ciao|car[oa]|gentile|beste|hej|hei|ol[aá]|prezad[oa])"
    r"(?:[ \t]+(?:again|there|back)\b)?[ \t,]*[ \t])"
)
_GREETED = (
    rf"(?P<names>(?:{_TITLE}(?:{_AND}{_TITLE})*[ \t]+)*{_NAME}"
    rf"(?:{_AND}(?:(?:dear|hi|hello|hey|liebe[rs]?|hallo|ch[eè]re?)[ \t]+)?(?:{_TITLE}[ \t]+)*{_NAME}){{0,2}})"
)
SALUTATION = re.compile(rf"{_MARKS}{_GREETING}{_GREETED}(?=[ \t]*(?:[^\w\s'\u2019]|\n|$))", re.IGNORECASE)
SALUTATION_WITHIN = re.compile(rf"[ \t\"]*{_GREETING}(?<!,[ \t]){_GREETED}(?=[ \t]*,)", re.IGNORECASE)
"""Within a line the comma behind the name tells it from a greeting of the world."""
FIRST_LINE = re.compile(rf"\s*(?P<names>{_WORD})[ \t]*(?:[,\u2013\u2014]|[ \t]-)[ \t]*\r?\n")
"""A name and a comma, and nothing else."""
TITLED_LINE = re.compile(rf"{_MARKS}(?P<names>{_TITLE}[ \t]+{_NAME}),", re.IGNORECASE)

_CLOSING_WORDS = (
    r"(?:(?:danke\s(?:und|&)\s)?(?:(?:with|and|my|our|many|warm(?:est)?|kind(?:est)?|best|sincere(?:st)?|friendly|the\svery)\s+)*"
    r"(?:regards|wishes|greetings|thanks|thank\s?you|thx|ty|best|sincerely|truly|faithfully|respectfully|cordially|warmly|cheers|love|hugs|xoxo|"
    r"signed|yours|looking\sforward|(?:yours|best)\s\w+|all\sthe\sbest|take\scare|(?:talk|speak)\ssoon|see\syou(?:\ssoon)?|rgds|br|kr|"
    r"(?:mit\s)?(?:freundlichen?|viele[nr]?|beste[nr]?|liebe[nr]?|sch[oö]ne[nr]?|herzliche[nr]?)\sgr(?:ü|ue)(?:ß|ss)en?|gru(?:ß|ss)|mfg|lg|vg|danke|"
    r"bis\s(?:bald|dann|morgen|später)|cordialement|bien\s(?:à\svous|cordialement)|merci|salutations|(?:gros(?:ses)?\s)?(?:bises|bisous)|à\sbientôt|"
    r"(?:un\s)?(?:cordial\s)?saludos?|atentamente|gracias|(?:un\s)?abrazos?|besos|"
    r"cordiali\ssaluti|grazie|met\svriendelijke\sgroet(?:en)?|groet(?:en|jes)?|hilsen|mvh|atenciosamente|obrigad[oa])\b"
    r"(?:\s+(?:again|yours|so\smuch|very\smuch|in\sadvance|cordiales|distingu[eé]e?s|afectuosos)\b)?)"
)
_SIGNED_BY = rf"(?:[-\u2013\u2014~*/][ \t]*)?(?:(?:i\.?[ \t]?[AV]\.?|ppa\.?|p\.?p\.?|ihre?|deine?|eure?|your)[ \t]+)?(?P<names>{_TITLED})"
CLOSING = re.compile(
    rf"[ \t>]*{_CLOSING_WORDS}(?:\s+(?:a\slot|and\s\w+\s\w+(?:\s\w+){{0,3}}|for\s\w+\s\w+(?:\s\w+){{0,3}})\b)?"
    rf"[ \t]*(?:[,\u2013\u2014-][ \t]*|[,.!\u2013\u2014-]*[ \t]*(?:\r?\n[ \t>]*){{1,3}}){_SIGNED_BY}"
    r"(?=[ \t]*(?:[,.|(!@\"\n\u2013\u2014-]|$)|[ \t]+(?:at|from|and)\b)",
    re.IGNORECASE,
)
CLOSING_ALONE = re.compile(
    rf"[ \t>]*{_CLOSING_WORDS}[ \t]+{_SIGNED_BY}(?=[ \t]*[.!]?[ \t]*(?:\n|$))",
    re.IGNORECASE,
)
CLOSING_LINE = re.compile(
    rf"[ \t>]*(?![Hh]appy)[^\W\d_]+(?:[ \t]+[^\W\d_]+){{0,6}},[ \t]*\n\s*(?P<names>{_TITLED}){_END}"
)
"""Any few words and a comma above a name on a line of its own."""
SIGNED_OFF = re.compile(
    rf"[ \t]+(?![Hh]appy)[^\W\d_]+(?:[ \t]+[^\W\d_]+){{0,2}},[ \t]+(?P<names>{_NAME})\s*$"
)
"""The end of a text: a few words, a comma, a name."""
DASHED_OFF = re.compile(rf"[ \t]+[-\u2013\u2014][ \t]*(?P<names>{_NAME})\s*(?:,[^\n]{{0,40}})?$")
DASHED = re.compile(
    rf"[ \t>]*(?:[-\u2013\u2014~]{{1,2}}|--[ \t]*\r?\n)[ \t]*(?P<names>{_NAME})(?=[ \t]*(?:\n|$|\|))"
)
LAST_LINE = re.compile(rf"(?P<names>{_NAME})\s*$")
IN_BARS = re.compile(rf"(?P<names>{_NAME})[ \t]*\|")
ABOVE_A_POST = re.compile(
    rf"(?P<names>{_NAME})[ \t]*(?:,[^\n]{{0,20}})?\r?\n[^\n]{{0,40}}\b(?:manager|director|head|lead|engineer|developer|designer|"
    r"analyst|consultant|officer|assistant|associate|specialist|representative|coordinator|buyer|partner|accountant|attorney|counsel|"
    r"founder|president|chief|ceo|cto|cfo|coo|vp|sales|marketing|operations|procurement|administrator|secretary|professor|owner|"
    r"leiter(?:in)?|geschäftsführer(?:in)?|responsable|directeur|directrice|gerente)\b",
    re.IGNORECASE,
)
"""A name above what its bearer does, as in a signature without a closing."""

_CALL = (
    r"(?:\bmy\s(?:full\s)?name(?:\sis|['\u2019]?s)|\bname['\u2019]s|\bi\sam\scalled|\bmein\sname\sist|\bich\shei(?:ß|ss)e|"
    r"\bje\sm['\u2019]appelle|\bmon\snom\sest|\bme\sllamo|\bmi\snombre\ses|\bmi\schiamo|\bmeu\snome\s[eé])[ \t]+"
)
CALLED = re.compile(rf"{_CALL}(?P<names>{_TITLED})", re.IGNORECASE)
_I_AM = r"(?:\b(?:this|it|here)(?:\sis|['\u2019]?s)|\bici|\bi\sam|\bi['\u2019]m|\bhier\sist|\bich\sbin|\bik\sben|\bje\ssuis|\bsoy|\bsono)[ \t]+"
SPEAKING = re.compile(
    rf"{_I_AM}(?P<names>{_TITLED}?)[ \t]*,?[ \t]+"
    r"(?:from(?!\s(?:now|hell)\b)|with|at|here|calling|speaking|writing|again|over\sat|von|vom|aus|de\sla|de|del|du)\b",
    re.IGNORECASE,
)
PRESENTED = re.compile(
    rf"{_I_AM}(?P<names>{_NAME})(?=[ \t]*,|[ \t]+(?:and|und|et|y)\b|[.!]|[ \t]*$)", re.IGNORECASE
)
NAME_HERE = re.compile(
    rf"(?P<names>{_WORD}(?:[ \t]+{_WORD}){{0,2}})[ \t]+(?:here|speaking)(?=[ \t]+from\b|[ \t]*[,.!\u2013\u2014]|[ \t]+-)"
)

GREETING_WORDS = frozenset(
    """
    dear hi hey hello hiya howdy yo greetings good morning afternoon hallo liebe lieber liebes sehr guten moin servus bonjour bonsoir
    coucou cher chère chere salut hola buenos buenas estimado estimada querido querida ciao caro cara gentile beste hej hei ola
    olá prezado prezada geehrte geehrter geachte
    """.split()  # noqa: SIM905
)
TITLE_WORDS = frozenset(
    """
    mr mrs ms miss mx dr prof professor doctor sir madam herr herrn frau monsieur madame mme mlle m sr sra srta señor señora don
    doña captain capt rev reverend father sister brother aunt uncle heer mevrouw dott dottore dottoressa signor signora signore avv ing
    """.split()  # noqa: SIM905
)
CLOSING_WORDS = frozenset(
    """
    with and my our many warm warmest kind kindest best sincere sincerest friendly the regards wishes greetings thanks thank
    thankyou thx ty sincerely truly faithfully respectfully cordially warmly cheers love hugs xoxo signed yours looking all take
    talk speak see rgds br kr mit freundliche freundlichen viele vielen vieler beste besten bester liebe lieben lieber schöne
    schönen schöner schone schonen schoner herzliche herzlichen herzlicher gruß gruss mfg lg vg danke bis cordialement bien merci
    salutations gros grosses bises bisous à un cordial saludo saludos atentamente gracias abrazo abrazos besos cordiali grazie met
    groet groeten groetjes hilsen mvh atenciosamente obrigado obrigada
    """.split()  # noqa: SIM905
)
"""With which word each kind of form begins, in small letters: most lines and sentences begin with another one."""
SPOKEN = (
    "this is ", "this's ", "it is ", "it's ", "its ", "here is ", "here's ", "ici ", "i am ", "i'm ", "hier ist ",
    "ich bin ", "ik ben ", "je suis ", "soy ", "sono ", "my name", "my full name", "name's ", "i am called ", "mein name ist ", "ich heiße ",
    "ich heisse ", "je m'appelle ", "mon nom est ", "me llamo ", "mi nombre es ", "mi chiamo ", "meu nome ",
)  # fmt: skip
"""With which words somebody says who is speaking."""
BLOCKS = re.compile(r"\n[ \t]*\r?\n[ \t]*")
INTRODUCTIONS = (CALLED, SPEAKING, PRESENTED, NAME_HERE)
CLOSINGS = frozenset({CLOSING, CLOSING_ALONE})
GREETED = re.compile(r"(?:dear|hi|hello|hey|liebe[rs]?|hallo|ch[eè]re?)[ \t]+", re.IGNORECASE)
MAY_BE_LOWER = frozenset({SALUTATION, TITLED_LINE, CLOSING, CALLED})
"""Forms that are clear enough for a name in small letters."""

NATION = re.compile(
    r"(?:american|asian|african|european|british|english|french|german|spanish|italian|irish|scottish|welsh|dutch|"
    r"danish|swedish|norwegian|finnish|polish|russian|ukrainian|turkish|greek|chinese|japanese|korean|indian|pakistani|mexican|"
    r"canadian|australian|brazilian|portuguese|swiss|austrian|belgian|israeli|iranian|iraqi|egyptian|nigerian|kenyan|arab|"
    r"jewish|christian|catholic|muslim|hindu|buddhist|latin[oax]|hispanic|republican|democrat|siri|alexa|chatgpt|"
    r"belge|fran[cç]aise?|allemande?|suisse|italienne?|espagnole?|anglaise?|espa[nñ]ola?|alem[aá]na?|ingl[eé]sa?|deutsche?r?|türke)\b",
    re.IGNORECASE,
)
"""What else people say they are, with a capital."""
OF_A_BODY = re.compile(
    r"(?:service|abteilung|team|büro|dienst|desk|center|centre|department|office|support)$"
)
"""How words end that name who writes, and are no person."""
PARTICLES = frozenset(
    "van von der den des del de della di da dos das la le el al bin ibn ben abu ter ten zu zur zum y e".split()  # noqa: SIM905
)
