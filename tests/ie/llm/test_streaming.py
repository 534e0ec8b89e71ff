import time

import pytest
from fake_llm import FakeLLM, Response, answer_body, answers, spacy_llm_pipeline

from ie.llm import models, streaming  # noqa: F401 (the models are registered)

NAMES = ["Acme", "Hooli", "Globex", "Initech"]


def assembled(url):
    model = {"@llm_models": "ie.OpenAI.v1", "model": "fake", "base_url": f"{url}/v1", "concurrency": 4}
    nlp = spacy_llm_pipeline(
        {**model, "context_length": 8192, "cache": ""},
        first={"@llm_tasks": "spacy.NER.v3", "labels": ["COMPANY"]},
        second={"@llm_tasks": "spacy.TextCat.v3", "labels": ["FUNDING", "OTHER"]},
    )
    nlp.add_pipe("sentencizer", first=True)
    return nlp


def answer(path, prompt):
    """As a model would: names and a category by what the text says."""
    text = prompt.split("Paragraph:")[-1] if "Paragraph:" in prompt else prompt.split("Text:")[-1]
    if "Paragraph:" in prompt:
        found = sorted((name for name in NAMES if name in text), key=text.index)
        said = "\n".join(f"{i}. {name} | True | COMPANY | a name" for i, name in enumerate(found, 1))
    else:
        said = "FUNDING" if "raises" in text else "OTHER"
    # The later an answer, the more the order is tested.
    return Response(answer_body(path, said or "none"), delay=0.03 if "Acme" in text else 0.0)


def texts(n):
    for i in range(n):
        yield f"{NAMES[i % 4]} {('raises', 'buys')[i % 3 == 0]} {i} of {NAMES[(i + 1) % 4]}."


def facts(doc):
    return doc.text, [(e.text, e.label_) for e in doc.ents], dict(doc.cats), doc.has_annotation("SENT_START")


@pytest.mark.filterwarnings("ignore:.*W102", "ignore:Task supports sharding")
def test_it_says_what_nlp_pipe_says_and_keeps_what_was_on_the_documents():
    with FakeLLM(always=answer) as server:
        nlp = assembled(server.url)
        expected = [facts(doc) for doc in nlp.pipe(texts(40))]
        docs = [nlp.make_doc(text) for text in texts(40)]
        for i, doc in enumerate(docs):
            doc.user_data["n"] = i
        found = list(streaming.pipe(nlp, docs))
    assert [facts(doc) for doc in found] == expected
    assert [doc.user_data["n"] for doc in found] == list(range(40))
    assert expected[0][1] == [("Acme", "COMPANY"), ("Hooli", "COMPANY")]
    assert {max(cats, key=cats.get) for _, _, cats, _ in expected} == {"FUNDING", "OTHER"}


@pytest.mark.filterwarnings("ignore:Task supports sharding")
def test_documents_come_out_while_others_are_asked_about():
    with FakeLLM(always=answers("none"), latency=0.0) as server:
        nlp = assembled(server.url)
        drawn = 0

        def docs():
            nonlocal drawn
            for text in texts(100_000):
                drawn += 1
                yield nlp.make_doc(text)

        begun = time.monotonic()
        stream = streaming.pipe(nlp, docs(), batch_size=16)
        assert next(stream).text == next(texts(1))
        assert drawn < 400
        stream.close()
        assert time.monotonic() - begun < 60
