"""Fuzzing of readers and layouts: what any input must satisfy, seeds, and inputs that once broke something.

Lives here: targets (`fuzz_readers`, `fuzz_layouts`), their seeds (`corpus`), running one (`__main__`), and in
`crashes/` small inputs named `<target>-<word>.bin`, which `test_fuzz_crashes` replays. Keep out: tests.
"""
