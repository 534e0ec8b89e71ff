import pytest

from ie.llm.types import Answer, Prices, Prompt, estimate_tokens

IDENTITY = {"model": "a", "params": {"temperature": 0.0, "top_p": 1}}


def test_prompt_and_answer_are_strings_with_attributes():
    prompt = Prompt("Text: x\nNames:", prefix=6, stop=("\n",), max_tokens=9, group="names")
    assert prompt == "Text: x\nNames:"
    assert prompt[: prompt.prefix] == "Text: "
    assert (prompt.stop, prompt.max_tokens, prompt.schema, prompt.group) == (("\n",), 9, None, "names")
    plain = Prompt.of("hello")
    assert (plain.prefix, plain.stop, plain.max_tokens) == (0, (), None)
    assert Prompt.of(prompt) is prompt
    changed = Answer("yes", key="k", prompt_tokens=3).replace(cached=True)
    assert (changed, changed.key, changed.prompt_tokens, changed.cached) == ("yes", "k", 3, True)


@pytest.mark.parametrize(
    ("prompt", "identity"),
    [
        (Prompt("Hooli bought Acme"), IDENTITY),  # the same words in another order
        (Prompt("Acme bought Hooli", stop=("\n",)), IDENTITY),
        (Prompt("Acme bought Hooli", max_tokens=5), IDENTITY),
        (Prompt("Acme bought Hooli", schema={"type": "object"}), IDENTITY),
        (Prompt("Acme bought Hooli", grammar='root ::= "a"'), IDENTITY),
        (Prompt("Acme bought Hooli"), {**IDENTITY, "model": "b"}),
        (Prompt("Acme bought Hooli"), {**IDENTITY, "params": {"temperature": 0.5, "top_p": 1}}),
    ],
)
def test_whatever_can_change_the_answer_changes_the_key(prompt, identity):
    assert prompt.key(identity) != Prompt("Acme bought Hooli").key(IDENTITY)


def test_nothing_else_changes_the_key():
    reordered = {"params": {"top_p": 1, "temperature": 0.0}, "model": "a"}
    prompt = Prompt("Acme bought Hooli", prefix=5, group="g")
    assert prompt.key(reordered) == Prompt("Acme bought Hooli").key(IDENTITY)


def test_transient_errors_are_those_worth_another_run():
    assert Answer(error="unavailable: 503").transient
    assert Answer(error="empty").transient
    assert not Answer(error="content_filter").transient
    assert not Answer("fine").transient


def test_costs_and_estimates():
    assert Prices(input=2.0, output=8.0).cost(1_000_000, 500_000) == 6.0
    assert estimate_tokens("word " * 400) == 500
    assert estimate_tokens("") == 1
