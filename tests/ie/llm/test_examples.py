"""Examples in prompts: out of the reviewed training part, never out of what measures the prompt."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import deals
import pytest
from running import ROOT, write_lines

from ie.core.errors import UserError
from ie.data.records import Record, read_records
from ie.data.splits import assign
from ie.llm import pipeline
from ie.llm.examples import FewShotExamples, reviewed_examples

CONFIG = deals.SCHEME
GOLDEN = Path(__file__).parent / "golden"
TOPICS = [
    "bread oven baker flour",
    "ship harbour cargo crane",
    "court judge appeal verdict",
    "goal match league cup",
]


def record(text, **cats):
    return Record(text=text, cats=cats)


def corpus(n=40, seed=0):
    """Texts on four topics; every other one has an answer."""
    rng = random.Random(seed)
    texts = [f"{' '.join(rng.choices(TOPICS[i % 4].split(), k=6))} {i}" for i in range(n)]
    return [record(text, X=(i // 4) % 2) for i, text in enumerate(texts)]


def missing(example):
    return 1 - example.cats["X"]


def never(example):
    return 0


def topic(example):
    return next(i for i, words in enumerate(TOPICS) if example.text.split()[0] in words.split())


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """A file of reviewed texts."""
    lines = [record.to_line() for record in deals.records(300)]
    return write_lines(tmp_path_factory.mktemp("reviewed") / "reviewed.jsonl", lines)


@pytest.fixture(scope="module")
def split(reviewed):
    """Their split, as the config says."""
    return assign(read_records(reviewed), [], **pipeline.load_config(CONFIG)["split"])


@pytest.fixture
def pipeline_of(reviewed, monkeypatch):
    """The pipeline of the config, with these settings."""
    monkeypatch.chdir(ROOT)

    def make(**overrides):
        paths = {"paths.reviewed": str(reviewed), "paths.examples": ""}
        config = pipeline.load_config(CONFIG, None, paths | overrides)
        return pipeline.assemble(config, CONFIG)

    return make


@pytest.mark.parametrize(
    ("select", "form"), [("fixed", "joint"), ("fixed", "one-label"), ("similar", "joint")]
)
def test_prompts_show_training_examples_only(split, select, form, pipeline_of):
    nlp = pipeline_of(**{"prompt.examples.select": select, "prompt.form": form})
    task = nlp.get_pipe("spans").task
    train = {example.text for example in split.train}
    held_out = [*split.dev, *split.test]
    assert task.shots.records
    assert {example.text for example in task.shots.records} <= train
    # And in the prompts themselves: each text of dev or test stands in none but its own.
    asked = held_out[:: len(held_out) // 25]
    docs = [nlp.tokenizer(example.text) for example in asked]
    shown = set()
    for example, (prompts, _) in zip(asked, task.generate_prompts(docs, 8192), strict=True):
        for prompt in prompts:
            lines = {line.removeprefix("Text: ") for line in prompt.splitlines() if line.startswith("Text: ")}
            assert not {other.text for other in held_out if other is not example} & lines
            shown |= lines - {example.text}
    assert 8 <= len(shown) <= (16 if select == "fixed" else 1000)
    assert shown <= {" ".join(text.split()) for text in train}


def test_whatever_the_config_says_held_out_texts_are_not_shown(split, pipeline_of):
    """The section may have literal shares of its own, which the command's options don't reach."""
    with pytest.raises(UserError, match=r"\[components.spans\] would show .* as an example"):
        pipeline.refuse_leaks(pipeline_of(**{"prompt.examples.test_percent": 1}), [*split.dev, *split.test])
    pipeline.refuse_leaks(pipeline_of(), [*split.dev, *split.test])


def test_rejected_and_ignored_reviews_are_no_examples(tmp_path):
    answers = ["accept", "reject", "ignore"]
    texts = {f"{example.text} x": answers[i % 3] for i, example in enumerate(corpus(60))}
    path = write_lines(tmp_path / "r.jsonl", [{"text": t, "answer": a} for t, a in texts.items()])
    shots = reviewed_examples(str(path))()
    assert {texts[example.text] for example in shots.records} == {"accept"}


@pytest.mark.parametrize("select", ["fixed", "similar"])
def test_the_same_choice_every_time(select):
    records = corpus(300)
    chosen = [FewShotExamples(records, select, 6).choose("ship in the harbour", missing) for _ in range(3)]
    assert chosen[0] == chosen[1] == chosen[2]
    assert len(chosen[0]) == len({example.text for example in chosen[0]}) == 6


# Prints what is chosen of a shuffled file for several numbers of examples, on all ways.
CHOICE = """
import json, random, sys
from pathlib import Path
from ie.llm.examples import FewShotExamples
from ie.data.records import read_records

records = read_records(Path(sys.argv[1]))
random.Random(int(sys.argv[2])).shuffle(records)
missing = lambda record: 1 - len({span.label for span in record.spans} & {"COMPANY", "MONEY"}) / 2
for n in range(1, 13):
    for options in ({}, {"max_empty": 0.0}, {"max_empty": 1.0}, {"select": "similar"}):
        examples = FewShotExamples(records, n=n, **options)
        chosen = examples.choose("Hooli raised $5m, led by ACME Ventures.", missing)
        print(json.dumps([record.text for record in chosen]))
"""
# Kernels of OpenBLAS (a processor other than x86-64 keeps its own), and numpy without newer instructions.
PROCESSORS = {
    "own": {},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512_SKX"},
    "Zen": {"OPENBLAS_CORETYPE": "Zen"},
    "Nehalem": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX2 FMA3 AVX512F AVX512_SKX",
    },
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
}
if "avx512f" in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""):
    PROCESSORS["SkylakeX"] = {"OPENBLAS_CORETYPE": "SkylakeX"}


def test_the_same_choice_on_every_processor_and_in_every_order():
    """The few examples of the golden prompts, where many choices are almost as good."""
    running = {}
    for i, (name, kernel) in enumerate(PROCESSORS.items()):
        threads = str(1 + i % 2)
        running[name] = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CHOICE, GOLDEN / "reviewed.jsonl", str(i)],
            env=os.environ
            | {"PYTHONPATH": str(ROOT / "scripts"), "PYTHONHASHSEED": str(i)}
            | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, **kernel},
            stdout=subprocess.PIPE,
        )
    chosen = {name: process.communicate()[0] for name, process in running.items()}
    assert {process.returncode for process in running.values()} == {0}
    lines = [json.loads(line) for line in chosen["own"].splitlines()]
    assert [len(line) for line in lines] == [n for n in range(1, 13) for _ in range(4)]
    assert {name: said == chosen["own"] for name, said in chosen.items()} == dict.fromkeys(chosen, True)


@pytest.mark.parametrize("select", ["fixed", "similar"])
def test_equal_examples_are_chosen_alike_in_every_order(select):
    rng = random.Random(0)
    for seed in range(20):
        # The same words in another order, or with another number: equally far from everything.
        records = [*corpus(24, seed), *(record(f"{a} {b}", X=1) for a in "xyz" for b in "xyz")]
        first = FewShotExamples(records, select, 6).choose("x y ship oven", missing)
        for _ in range(3):
            rng.shuffle(records)
            assert FewShotExamples(records, select, 6).choose("x y ship oven", missing) == first


def test_of_many_examples_the_few_that_have_an_answer_are_found():
    records = [record(example.text, X=i % 400 == 399) for i, example in enumerate(corpus(2400))]
    chosen = FewShotExamples(records, "fixed", 6, max_empty=0.0).choose("", missing)
    assert len(chosen) == 6
    assert not any(map(missing, chosen))


def test_fixed_examples_are_the_same_for_all_texts_and_spread_over_the_corpus():
    shots = FewShotExamples(corpus(), "fixed", 4)
    chosen = shots.choose("bread", never)
    assert shots.choose("a match", never) == chosen
    assert {topic(example) for example in chosen} == {0, 1, 2, 3}


def test_a_text_is_no_similar_example_of_itself():
    texts = corpus()
    shots = FewShotExamples(texts, "similar", 5)
    for one in texts[:8]:
        assert one not in shots.choose(one.text, missing)


def test_similar_examples_are_the_nearest_with_the_nearest_last():
    shots = FewShotExamples(corpus(), "similar", 5)
    assert {topic(example) for example in shots.choose("judge and court", never)} == {2}
    assert {topic(example) for example in shots.choose("a cup for the league", never)} == {3}
    own = corpus()[7]
    assert shots.choose(f"{own.text} today", never)[-1] == own


@pytest.mark.parametrize(("max_empty", "most"), [(0.0, 0), (0.25, 2), (0.5, 4)])
def test_the_share_of_examples_without_an_answer_is_limited(max_empty, most):
    records = [record(example.text, X=i % 10 == 0) for i, example in enumerate(corpus(100))]
    chosen = FewShotExamples(records, "fixed", 8, max_empty=max_empty).choose("", missing)
    assert len(chosen) == 8
    assert sum(missing(example) for example in chosen) == most


def test_where_no_example_fills_all_fields_the_fullest_are_shown():
    """A scheme of many labels: hardly any text has them all."""
    records = corpus(40)
    shares = {example.text: (0.5 if i % 4 else 0.75) for i, example in enumerate(records)}
    shares[records[0].text] = 1.0
    chosen = FewShotExamples(records, "fixed", 8, max_empty=0.0).choose(
        "", lambda example: shares[example.text]
    )
    assert len(chosen) == 8
    assert {shares[example.text] for example in chosen} == {0.5}


def test_where_no_example_has_any_answer_none_is_shown_beyond_the_share():
    chosen = FewShotExamples(corpus(40), "fixed", 8, max_empty=0.25).choose("", lambda example: 1.0)
    assert len(chosen) == 2


@pytest.mark.parametrize("select", ["fixed", "similar"])
def test_no_examples(select):
    assert FewShotExamples([], select).choose("text", missing) == []
    assert FewShotExamples(corpus(), select, n=0).choose("text", missing) == []
    assert FewShotExamples(corpus(), select, max_words=2).choose("text", missing) == []


@pytest.mark.parametrize("select", ["fixed", "similar"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_fewer_examples_than_wanted_are_all_shown(select, count, recwarn):
    records = corpus()[:count]
    chosen = FewShotExamples(records, select, n=8).choose("bread", never)
    assert sorted(example.text for example in chosen) == sorted(example.text for example in records)
    assert not recwarn.list


def test_equal_examples_are_no_trouble(recwarn):
    records = [record("bread oven", X=1), *[record(f"ship crane {'!' * i}", X=1) for i in range(20)]]
    assert len(FewShotExamples(records, "fixed", n=6).choose("bread", missing)) <= 6
    records = [record(text, X=1) for text in ("🦄", "...", "$", "€ €", "🦄 🦄") * 3]
    assert 0 < len(FewShotExamples(records, "fixed", n=4).choose("🦄", missing)) <= 4
    assert len(FewShotExamples(records, "similar", n=4).choose("nothing alike", missing)) == 4
    assert not [warning for warning in recwarn.list if "cluster" in str(warning.message)]


def test_long_examples_are_not_shown():
    records = [record("bread " * 50, X=1), *corpus(10)]
    for select in ("fixed", "similar"):
        chosen = FewShotExamples(records, select, n=20, max_words=40).choose("bread", never)
        assert records[0] not in chosen


def test_nothing_is_read_before_the_first_prompt(tmp_path):
    make = reviewed_examples(str(tmp_path / "later.jsonl"))
    assert make().records == []
    write_lines(tmp_path / "later.jsonl", [])
    assert make().records == []
    write_lines(tmp_path / "later.jsonl", [{"text": example.text} for example in corpus(30)])
    assert make().records


def test_relations_that_the_command_was_told_to_drop_are_no_error_here(tmp_path):
    lines = [{"text": f"Acme {example.text}", "spans": [{"start": 0, "end": 4, "label": "C"}],
              "relations": [{"head": 0, "child": 0, "label": "R"}]} for example in corpus(30)]  # fmt: skip
    shots = reviewed_examples(str(write_lines(tmp_path / "r.jsonl", lines)))()
    assert shots.records
    assert all(example.relations == [] for example in shots.records)
