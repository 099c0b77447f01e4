"""Search-space files: the shipped ones, the format, and every mistake reported at once in our own words."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError, Value, load_space, parse_space, shipped_spaces
from tests.chance import ten_thousand_times
from tests.counting import calls

SPACES = Path(__file__).parent.parent / "search_spaces"
AUTORESEARCH: dict[str, Value] = {
    "EMBEDDING_LR": 0.6, "UNEMBEDDING_LR": 0.004, "MATRIX_LR": 0.04, "SCALAR_LR": 0.5, "WEIGHT_DECAY": 0.2,
    "ADAM_BETAS": (0.8, 0.95), "WARMUP_RATIO": 0.0, "WARMDOWN_RATIO": 0.5, "FINAL_LR_FRAC": 0.0, "ASPECT_RATIO": 64,
}  # fmt: skip
EXPERTS: dict[str, Value] = {  # of our train.py alone, with what autoresearch's has written out
    "ROPE_BASE": 10000, "SHORT_WINDOW_RATIO": 0.5, "X0_INIT": 0.1, "INIT_SCALE": 1.0, "EMBEDDING_DECAY": 0.0,
    "VALUE_DECAY": 0.0, "UNEMBEDDING_DECAY": 0.0, "MUON_WARMUP_STEPS": 300,
}  # fmt: skip
BASELINES: dict[str, dict[str, Value]] = {
    "cpu": {"DEPTH": 2, "HEAD_DIM": 64, "DEVICE_BATCH_SIZE": 4, "TOTAL_BATCH_SIZE": 4096, "WINDOW_PATTERN": "SL"},
    "colab": {"DEPTH": 4, "DEVICE_BATCH_SIZE": 16, "TOTAL_BATCH_SIZE": 2**17, "WINDOW_PATTERN": "L"},
    "gpu": {"DEPTH": 8, "HEAD_DIM": 128, "DEVICE_BATCH_SIZE": 16, "TOTAL_BATCH_SIZE": 2**19, "WINDOW_PATTERN": "SSSL"},
    "rtx": {"DEPTH": 8, "HEAD_DIM": 128, "TOTAL_BATCH_SIZE": 2**19, "WINDOW_PATTERN": "SSSL"},
    "h100": {
        "DEPTH": 8,
        "HEAD_DIM": 128,
        "DEVICE_BATCH_SIZE": 128,
        "TOTAL_BATCH_SIZE": 2**19,
        "WINDOW_PATTERN": "SSSL",
    },
}
# what the profiles set besides the baseline
CONSTANTS = {
    "cpu": {"MAX_SEQ_LEN": 256, "DEVICE_BATCH_SIZE": 4},
    "colab": {"MAX_SEQ_LEN": 512},
    "gpu": {"MAX_SEQ_LEN": 2048},
    "rtx": {"MAX_SEQ_LEN": 2048},
    "h100": {"MAX_SEQ_LEN": 2048},
}
GOOD = """
[parameters]
DEPTH = [2, 3]
lr = [0, 0.5]
BETAS = [[0.8, 0.95], [0.9, 0.95]]
[[rules]]
rule = "DEPTH * lr < LIMIT"
why = "because"
[[start]]
source = "a paper"
params = { DEPTH = 4 }
"""


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(SearchSpaceError) as caught:
        parse_space(text, "x/y.toml")
    assert all(line.startswith("x/y.toml: ") and line.isprintable() for line in caught.value.problems)
    return caught.value.problems


def problem(text: str) -> str:
    (line,) = problems(text)
    return line


def test_five_spaces_are_shipped() -> None:
    assert shipped_spaces() == ("colab", "cpu", "gpu", "h100", "rtx")


def test_the_rtx_space_is_the_gpus_without_the_device_batch() -> None:
    rtx, gpu = load_space("rtx"), load_space("gpu")
    gpu = gpu.fitting({*gpu.names} - EXPERTS.keys())
    assert rtx.names == tuple(name for name in gpu.names if name != "DEVICE_BATCH_SIZE")
    assert all(set(each.choices) <= set(gpu[each.name].choices) for each in rtx.parameters)


@pytest.mark.parametrize("name", BASELINES)
def test_a_shipped_space_holds_its_baseline_and_the_baseline_breaks_no_rule(name: str) -> None:
    space, constants = load_space(name), CONSTANTS[name]
    params = {n: value for n, value in {**AUTORESEARCH, **EXPERTS, **BASELINES[name]}.items() if n in space.names}
    assert space.path == f"search_spaces/{name}.toml"
    assert space.contains(params)
    assert space.feasible(params, constants)
    assert space.unknown_names(constants) == ()
    assert len(space.parameters) >= 10


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "colab"])  # the tutorial's stays as it is
def test_a_shipped_space_has_no_dead_choices(name: str) -> None:
    assert load_space(name).dead_choices(CONSTANTS[name]) == ()


def test_the_published_starts_fit_the_h100_space() -> None:
    h100 = load_space("h100")
    assert [start.val_bpb for start in h100.starts] == [0.969686, 0.97409, 0.97446, 0.97561, 0.97631, 0.9766, 0.97682]
    snapped = []
    for start in h100.starts:
        params = h100.nearest({**EXPERTS, **start.params})[0]
        assert start.script == "karpathy/autoresearch"
        assert "2603.24647" in start.source or "exp/H100/mar8" in start.source
        assert h100.contains(params)
        assert h100.feasible(params, {"MAX_SEQ_LEN": 2048})
        snapped.append(params)
    assert all(params not in snapped[:i] for i, params in enumerate(snapped))


@pytest.mark.parametrize("name", ["gpu", "h100"])
def test_no_two_feasible_patterns_of_a_depth_have_the_same_windows(name: str) -> None:
    space = load_space(name)
    params: dict[str, Value] = {**AUTORESEARCH, **EXPERTS, **BASELINES[name]}
    params = {key: value for key, value in params.items() if key in space.names}
    for depth in space["DEPTH"].choices:
        assert isinstance(depth, int)
        windows: list[str] = []
        for pattern in map(str, space["WINDOW_PATTERN"].choices):
            if space.feasible({**params, "DEPTH": depth, "WINDOW_PATTERN": pattern}, CONSTANTS[name]):
                windows.append((pattern * depth)[: depth - 1] + "L")
        assert len(windows) == len(set(windows)) >= 4, (depth, windows)


def test_an_optional_parameter_is_left_out_with_its_rules_where_a_script_lacks_it() -> None:
    text = GOOD.replace("lr = [0, 0.5]", "lr = { choices = [0, 0.5], optional = true }")
    text = text.replace("{ DEPTH = 4 }", "{ DEPTH = 4, lr = 0.5 }\nval_bpb = 0.97")
    space = parse_space(text, "x/y.toml")
    assert space.fitting({"DEPTH", "BETAS", "lr"}) is space
    fitted = space.fitting({"DEPTH", "BETAS"})
    assert (fitted.names, fitted.rules) == (("DEPTH", "BETAS"), ())
    assert [(start.params, start.val_bpb) for start in fitted.starts] == [
        ({"DEPTH": 4}, None)
    ]  # not measured without it
    assert space.fitting({"lr"}).names == space.names  # only what is optional is left out
    assert space.fingerprint() == parse_space(text.replace(", optional = true", ""), "x/y.toml").fingerprint()
    assert "neither true nor false" in problem(text.replace("= true", "= 1"))


def test_toml_values_are_literals() -> None:
    space = parse_space(GOOD, "x/y.toml")
    assert space.name == "y"
    assert space["DEPTH"].choices == (2, 3)
    assert space["BETAS"].choices == ((0.8, 0.95), (0.9, 0.95))
    assert [rule.why for rule in space.rules] == ["because"]
    assert space.starts[0].params == {"DEPTH": 4}
    assert (space.starts[0].script, space.starts[0].val_bpb) == (None, None)


def test_the_example_in_the_readme_is_a_search_space() -> None:
    readme = (SPACES / "README.md").read_text("utf-8")
    space = parse_space(readme.split("```toml\n")[1].split("```")[0], "search_spaces/README.md")
    assert space.nearest(space.starts[0].params)[0] == {"DEPTH": 3, "FINAL_LR_FRAC": 0.05}


def test_whole_numbers_among_fractions_become_fractions() -> None:
    assert [type(choice) for choice in parse_space(GOOD, "x/y.toml")["lr"].choices] == [float, float]


def test_a_path_is_what_has_a_slash(tmp_path: Path) -> None:
    file = tmp_path / "my space.toml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_space(str(file)).fingerprint() == parse_space(GOOD, "x").fingerprint()
    assert load_space(str(file)).path == str(file)


@pytest.mark.parametrize("name", ["nope", "cpu.toml", "", "..", "\x00"])
def test_a_bare_name_that_is_not_ours_lists_ours(name: str) -> None:
    with pytest.raises(SearchSpaceError, match=r"no such search space. Use one of ours \(colab, cpu, gpu, h100, rtx\)"):
        load_space(name)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge.toml").write_bytes(b"# " + b"x" * 2_000_000)
    os.mkfifo(tmp_path / "pipe.toml")  # opening it would wait for ever
    paths = {
        "none.toml": "does not exist",
        "": "is not a file",
        "binary.toml": "byte 0 is not UTF-8",
        "huge.toml": "larger than",
        "pipe.toml": "is not a file",
        "a\x00b": "does not exist",
        "n" * 300: "cannot be read: File name too long",
    }
    for path, words in paths.items():
        with pytest.raises(SearchSpaceError) as caught:
            load_space(f"{tmp_path}/{path}")
        assert len(caught.value.problems) == 1
        assert words in str(caught.value)
    with pytest.raises(SearchSpaceError, match="no such home folder"):
        load_space("~nobody-of-that-name/x.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "[parameters]: the space is empty"),
        ("parameters = 3", "[parameters]: the space is empty"),
        ("[parameters", "not valid TOML: "),
        ("a = " + "[" * 900, "not valid TOML: nested too deeply"),
        ("a" + ".a" * 10_000 + " = 1", "line 1 is longer than"),
        ("[parameters]\nA = [1, 2]\n[parameter]\nB = [1]", "'parameter': unknown key. Known here: parameters, "),
        ("[parameters]\nA = 4", "A: 4 is not a list of choices"),
        ("[parameters]\nA = []", "A: has no choices"),
        ("[parameters]\nA = [4]", "A: has a single choice. Put it under [constants] in the profile"),
        ("[parameters]\nA = [1, 2, 1.0]", "A: 1 and 1.0 are the same choice"),
        ("[parameters]\nA = [[1, 2], [1.0, 2.0]]", "A: (1, 2) and (1.0, 2.0) are the same choice"),
        ("[parameters]\nA = [true, 1]", "A: mixes number and true/false"),
        ("[parameters]\nA = ['L', 1]", "A: mixes number and text"),
        ("[parameters]\nA = ['(1, 2)', [1, 2]]", "A: mixes text and tuple"),
        ("[parameters]\nA = [1.0, nan]", "A: nan is not a finite number"),
        ("[parameters]\nA = [1.0, -inf]", "A: -inf is not a finite number"),
        ("[parameters]\nA = [1, 0xfffffffffffffffffff]", "A: a whole number does not fit 64 bits"),
        ("[parameters]\nA = [1979-05-27, 1980-05-27]", "A: datetime.date(1979, 5, 27) is not a literal"),
        ("[parameters]\nA = [{}, {}]", "A: {} is not a literal"),
        ("[parameters]\nA = [[[[[1]]]], 2]", "A: arrays are nested too deeply"),
        ("[parameters]\nA = ['a', \"\\u001b[2J\"]", "holds a control character"),
        ("[parameters]\n'a b' = [1, 2]", "'a b': is no name of a Python constant"),
        ("[parameters]\nlambda = [1, 2]", "'lambda': is no name of a Python constant"),
        ("[parameters]\nA.b = [1, 2]", "A: 'b': unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_parameters_is_named(text: str, words: str) -> None:
    assert any(words in line for line in problems(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[rules]\nrule = 'A > 1'", "rules: is not an array of tables. Begin each with [[rules]]."),
        ("[[rules]]\nrule = 'A > 1'", "rule 1: why: missing"),
        ("[[rules]]\nwhy = 'x'", "rule 1: rule: missing"),
        ("[[rules]]\nrule = 3\nwhy = 'x'", "rule 1: rule: 3. Give it one line of plain text"),
        ("[[rules]]\nrule = 'A > 1'\nwhy = 'x'\nwy = 'x'", "rule 1: 'wy': unknown key. Known here: rule, why."),
        ("[[rules]]\nrule = 'A > = 1'\nwhy = 'x'", "rule 1: `A > = 1`: column 5: invalid syntax"),
        ("[[rules]]\nrule = 'A.b > 1'\nwhy = 'x'", "rule 1: `A.b > 1`: column 1: `A.b` is not allowed"),
        ("[[rules]]\nrule = 'A % 2'\nwhy = 'x'", "rule 1: `A % 2`: is no condition"),
        ("[[rules]]\nrule = '1 == 1'\nwhy = 'x'", "rule 1: `1 == 1`: names no parameter"),
        ("[[start]]\nsource = 'x'", "start 1: params: missing or empty"),
        ("[[start]]\nparams = { A = 1 }", "start 1: source: missing"),
        ("[[start]]\nsource = 'x'\nparams = { B = 1 }", "start 1: 'B' is no parameter of this space"),
        ("[[start]]\nsource = 'x'\nparams = { A = 'x' }", "start 1: A: 'x' is none of its choices: 1, 2"),
        ("[[start]]\nsource = 'x'\nparams = { A = nan }", "start 1: A: nan is not a finite number"),
        ("[[start]]\nsource = 'x'\nparams = { A = 1 }\nval_bpb = true", "start 1: val_bpb: True is not a number"),
        ("[[start]]\nsource = 'x'\nparams = { A = 1 }\nval_bpb = inf", "start 1: val_bpb: inf is not a number"),
        ("[[start]]\nsource = 'x'\nparams = { A = 1 }\nscript = 1", "start 1: script: 1. Give it one line"),
        ("[[start]]\nsource = 'x'\nparams = { A = 1 }\nbpb = 1", "start 1: 'bpb': unknown key"),
    ],
)
def test_a_mistake_in_a_rule_or_a_start_is_named(text: str, words: str) -> None:
    assert words in problem("[parameters]\nA = [1, 2]\n" + text)


def test_all_mistakes_are_reported_at_once() -> None:
    text = "extra = 1\n[parameters]\nA = [1]\nB = [1, 2, nan]\nC = [1, 2]\n[[rules]]\nrule = 'C('\n"
    text += "[[start]]\nparams = { B = 1, C = 'x', D = 1 }\n"
    places = [line.removeprefix("x/y.toml: ").split(": ")[0] for line in problems(text)]
    assert places == ["'extra'", "A", "B", "rule 1", "rule 1", "start 1", "start 1", "start 1"]


SHIPPED = [(SPACES / f"{name}.toml").read_bytes() for name in shipped_spaces()]
PIECES = [
    b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b'"', b"'", b'"""', b",", b".", b"\n", b"\r", b"\x00", b"\xff", b"#",
    b"\\", b"nan", b"inf", b"true", b"1979-05-27", b"07:32:00", b"1e999", b"0x", b"9" * 30, b"\\u001b", b"\\ud800",
    b"[[start]]", b"[[rules]]", b"[parameters]", b"rule", b"**", b"params", "é".encode(), b"[" * 50,
]  # fmt: skip
places = st.tuples(st.integers(0, 5000), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=6))


def refused(file: Path) -> None:
    with pytest.raises(SearchSpaceError):
        load_space(str(file))


def loads_or_is_refused(file: Path, original: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for at, length, piece in edits:
        at %= len(original) + 1
        original = original[:at] + piece + original[at + length :]
    file.write_bytes(original)
    problems: tuple[str, ...] = ("none",)
    try:
        space = load_space(str(file))
        space.count_feasible({"MAX_SEQ_LEN": 256})
        space.fingerprint()
    except SearchSpaceError as error:
        problems = error.problems
    assert problems
    assert all(line.isprintable() for line in problems)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SHIPPED), st.lists(places, min_size=1, max_size=4))
def test_a_mutated_file_raises_nothing_but_our_error(
    tmp_path_factory: pytest.TempPathFactory, original: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    loads_or_is_refused(tmp_path_factory.getbasetemp() / "mutated.toml", original, edits)


@pytest.mark.slow
def test_ten_thousand_mutated_files_raise_nothing_but_our_error(tmp_path: Path) -> None:
    def mutated(draw: random.Random) -> None:
        pieces = [draw.choice((*PIECES, draw.randbytes(draw.randint(0, 6)))) for _ in range(draw.randint(1, 4))]
        edits = [(draw.randint(0, 5000), draw.randint(0, 40), piece) for piece in pieces]
        loads_or_is_refused(tmp_path / "mutated.toml", draw.choice(SHIPPED), edits)

    ten_thousand_times(mutated)


def test_the_worst_dotted_keys_that_are_accepted_take_work_in_proportion_to_their_number(tmp_path: Path) -> None:
    file, keys = tmp_path / "dots.toml", 900
    file.write_text("[k" + ".a" * 490 + "]\n" + "".join(f"b{i}.c=1\n" for i in range(keys)))
    assert calls(lambda: refused(file)) < 1_100 * keys
