"""Starts the page of a run: in a thread beside a notebook or a script, or for the command line until Ctrl-C."""

import contextlib
import html
import os
import socket
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.arguments import checked
from chexkeras.checks import is_loopback, positive_int, typed_path
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.inference.engines import check_engine
from chexkeras.page.connections import Connections
from chexkeras.page.document import PageDocument
from chexkeras.page.server import LOCAL_NAMES, PageServer, ServerLimits
from chexkeras.progress import say
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
PORT = 7860
"""The port at which demonstrations of models are looked for."""

FEWEST_LETTERS = 12
_HEIGHT_PX = 900
_START_SECONDS = 30.0
_IDLE_SECONDS = 5
_PAGES = ("report", "model-card")


class ServedPage:
    """A page that is being served; closed by `close`, at the end of a ``with`` block, or with the program.

    Attributes:
        url: Where it is.
        shown_at: Where a browser finds it: the same, or where a proxy shows it.
    """

    def __init__(
        self, server: "uvicorn.Server", scorer: Any, url: str, bound: socket.socket, shown_at: str = ""
    ) -> None:
        self.url, self.shown_at = url, shown_at or url
        self._server, self._scorer, self._socket = server, scorer, bound
        self._thread: threading.Thread | None = None

    def start(self) -> "ServedPage":
        """Serves in a thread of its own, and returns once the page answers.

        Raises:
            RuntimeError: If the server does not start.
        """
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_SECONDS * 50)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.02)
        if not self._server.started:
            self.close()
            raise RuntimeError("the page's server did not start; choose another port.")
        return self

    def run(self) -> None:
        """Serves in this thread until the program is interrupted."""
        try:
            self._server.run([self._socket])
        finally:
            self.close()

    def close(self) -> None:
        """Ends the server and the processes that read films."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._scorer.close()
        with contextlib.suppress(OSError):
            self._socket.close()

    def __enter__(self) -> "ServedPage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<the page of a run at {self.shown_at}; .close() ends it>"

    def _repr_html_(self) -> str:
        """Returns the page in a frame, for a notebook whose browser reaches it, and a link for a window of its own."""
        address = html.escape(self.shown_at, quote=True)
        return (
            f'<p><a href="{address}" target="_blank" rel="noopener">Open the page in a window of its own</a></p>'
            f'<iframe src="{address}" title="The page of a run" style="width: 100%; height: {_HEIGHT_PX}px; '
            f'border: 1px solid #c9ced3"></iframe>'
        )


@checked
def app(
    run: Run | str | Path,
    *,
    port: int | None = None,
    profile: str | Profile = "clinical",
    engine: str = "keras",
    beside: Sequence[Run | str | Path] = (),
    proxy: str | None = None,
) -> ServedPage:
    """Starts the page of a run on this machine, for this machine alone, and shows it in a notebook.

    On the page a film is uploaded, judged, scored and shown; many films become a sortable list; the run's results are
    read. Nothing of a film is kept, no other host is asked for anything, and no score is made for a refused film. It is
    not a medical device. The command ``chexkeras app`` is the same in a terminal.

    Args:
        run: The run or its folder.
        port: Port of this machine, 1024 to 65535; None takes a free one.
        profile: The DICOM gate's profile: "clinical", "course", or a `Profile` of your own.
        engine: What computes the scores: "keras", "openvino" or "onnx".
        beside: Other runs, tested on the same images, to be shown side by side.
        proxy: Where a proxy in front shows the port to the notebook's browser, "{port}" standing for its number, such
            as "/user/ada/proxy/{port}/". None takes what JupyterHub says of itself, for jupyter-server-proxy, which has
            to be installed there; "" says that there is none.

    Returns:
        The page: its `url`, and `close` to end it. In a notebook it shows itself.

    Raises:
        FileNotFoundError: If the run lacks a file.
        OSError: If the port is taken.
        RuntimeError: If the server does not start.
        TypeError: If `beside` is one path instead of a list.
        ValueError: If a value is out of range, or the extra "app" (uvicorn) is not installed.
    """
    # A notebook's own page is the only other one that may frame this one, wherever on this machine it is served.
    frames = "'self' http://localhost:* http://127.0.0.1:*"
    page = make_page(
        run, port=0 if port is None else port, profile=profile, engine=engine, beside=beside, frames=frames,
        proxy=hub_proxy() if proxy is None else proxy,
    )  # fmt: skip
    return page.start()


def hub_proxy() -> str:
    """Returns where jupyter-server-proxy shows a port of this server of a JupyterHub; empty where there is no hub.

    Source:
        JupyterHub's documentation of services: the variable JUPYTERHUB_SERVICE_PREFIX.
    """
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
    return f"{prefix.rstrip('/')}/proxy/{{port}}/" if prefix.startswith("/") else ""


@checked
def make_page(
    run: Run | str | Path,
    *,
    host: str = LOOPBACK,
    port: int = PORT,
    profile: str | Profile = "clinical",
    engine: str = "keras",
    beside: Sequence[Run | str | Path] = (),
    limits: ServerLimits = ServerLimits(),  # noqa: B008
    password: str = "",
    is_open: bool = False,
    frames: str = "'none'",
    names: Sequence[str] = (),
    proxy: str = "",
) -> ServedPage:
    """Makes the page of a run ready to be served.

    Args:
        run: The run or its folder.
        host: The address at which it is served, such as "127.0.0.1", this machine alone, or "0.0.0.0", all networks.
        port: The port, 1024 to 65535, or 0 for a free one.
        profile: The DICOM gate's profile.
        engine: What computes the scores.
        beside: Other runs on the same test images.
        limits: What the server takes on.
        password: What a visitor must give, at least 12 characters; empty asks for none.
        is_open: Whether it is known that anyone who reaches another host than loopback may use the page.
        frames: Origins that may show the page in a frame, as a content security policy names them.
        names: Names under which a proxy in front may ask for a page that is served on loopback; through it others reach
            the page, so that a password is wanted as for another host.
        proxy: Where a proxy that knows its users, such as JupyterHub's, shows the port, see `app`; the page may then be
            asked for under any name.

    Returns:
        The page, not yet served.

    Raises:
        FileNotFoundError: If the run lacks a file.
        OSError: If the address is taken or is none of this machine.
        TypeError: If `beside` is one path instead of a list.
        ValueError: If other machines could reach the page without a password and nobody said so, a value is out of
            range, or the extra "app" is not installed.
    """
    check_address(host, port, password, is_open, names)
    if proxy and not proxy.startswith(("/", "https://", "http://")):
        raise ValueError(f"proxy={proxy!r} must be a path such as '/user/ada/proxy/{{port}}/', or an address.")
    _need_uvicorn()
    loaded = run if isinstance(run, Run) else Run.load(run)
    if isinstance(beside, str):
        raise TypeError(f"beside={beside!r} is one path; a list of runs was expected: [{beside!r}].")
    others = [each if isinstance(each, Run) else Run.load(each) for each in beside]
    chosen = find_profile(profile)
    check_engine(engine)
    bound = _bound(host, port)
    try:
        say("reading the run ...")
        document = PageDocument.of(loaded, others)
        loaded.check_model()
        say("drawing example films ...")
        from chexkeras.page.examples import example_films, usual_side

        examples = example_films(usual_side(loaded))
        say("loading the model ...")
        from chexkeras.page.film import FilmScorer

        scorer = FilmScorer(loaded, document, profile=chosen, engine=engine)
        scorer.warm_up(examples["accepted"].content)
    except BaseException:
        bound.close()
        raise
    server = PageServer(
        document, scorer, reports=partial(report_pages, loaded), examples=examples, limits=limits, password=password,
        # Behind another address the page is asked for under names that nobody here knows.
        hosts=(*LOCAL_NAMES, *names) if is_loopback(host) and not proxy else (), framed_by=frames,
    )  # fmt: skip
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    taken = bound.getsockname()[1]
    return ServedPage(
        uvicorn_server(server, host, port),
        scorer,
        f"http://{shown}:{taken}/",
        bound,
        proxy.replace("{port}", str(taken)),
    )


def uvicorn_server(page: PageServer, host: str = LOOPBACK, port: int = PORT) -> "uvicorn.Server":
    """Returns uvicorn's server of a page: its connections counted and timed, nothing logged, no header believed.

    Args:
        page: The page.
        host: The address, for uvicorn's messages.
        port: The port, likewise.
    """
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    connections = Connections(page, page.limits)
    config = uvicorn.Config(
        connections, host=host, port=port, access_log=False, log_level="error", server_header=False,
        proxy_headers=False, lifespan="off", ws="none", timeout_keep_alive=_IDLE_SECONDS, timeout_graceful_shutdown=3,
        http=connections.wrapped(H11Protocol),  # type: ignore[arg-type]
    )  # fmt: skip
    return uvicorn.Server(config)


def check_address(host: str, port: int, password: str = "", is_open: bool = False, names: Sequence[str] = ()) -> None:
    """Checks where a page is to be served, before anything is loaded.

    Args:
        host: The address.
        port: The port.
        password: What a visitor must give.
        is_open: Whether an open page is meant.
        names: Names under which a proxy in front may ask.

    Raises:
        ValueError: If the port is none, the password is short, or other machines could reach the page without one.
    """
    if port != 0 and not 1024 <= positive_int(port, "port") <= 65535:
        raise ValueError(f"port={port} must be from 1024 to 65535.")
    if password and len(password) < FEWEST_LETTERS:
        raise ValueError(f"the password has {len(password)} characters; at least {FEWEST_LETTERS} were expected.")
    if isinstance(names, str):
        raise TypeError(f"names={names!r} is one name; a list was expected: [{names!r}].")
    if (names or not is_loopback(host)) and not password and not is_open:
        asked = f"names={list(names)!r}" if names else f"host={host!r}"
        raise ValueError(
            f"{asked} lets other machines reach the page: give a password (on the command line --password-file "
            "FILE), or say that it may be open (is_open=True, --i-know-it-is-open)."
        )


def read_password(file: str | Path) -> str:
    """Returns the first line of a file.

    Args:
        file: The file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is empty or no text.
    """
    path = typed_path(file, "--password-file")
    try:
        with path.open(encoding="utf-8") as handle:
            password = handle.readline(1024).strip()
    except UnicodeDecodeError:
        raise ValueError(f"--password-file {str(file)!r} is no text; a line with the password was expected.") from None
    if not password:
        raise ValueError(f"--password-file {str(file)!r} begins with an empty line; a password was expected.")
    return password


def report_pages(run: Run) -> dict[str, str]:
    """Returns the run's report and model card as whole HTML pages, by name.

    Args:
        run: The run; one that was exported with its page keeps them.

    Raises:
        ValueError: If a file of the run is damaged.
    """
    kept = {name: run.folder / f"{name}.html" for name in _PAGES}
    if all(path.is_file() for path in kept.values()):
        return {name: path.read_text(encoding="utf-8") for name, path in kept.items()}
    from chexkeras.report.html import page_text
    from chexkeras.report.model_card import write_model_card
    from chexkeras.report.submission import write_report

    with tempfile.TemporaryDirectory(prefix="chexkeras-") as folder:
        report = write_report(run, Path(folder) / "report.md")
        card = write_model_card(run, Path(folder) / "model_card.md")
        return {"report": page_text(report), "model-card": page_text(card)}


def _bound(host: str, port: int) -> socket.socket:
    """Takes the port at once: where it is taken, nothing needs to be loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host.strip("[]"), port))
    except OSError as error:
        made.close()
        raise OSError(
            f"the page cannot be served at {host}:{port} ({error.strerror or error}); choose another port with --port."
        ) from None
    return made


def _need_uvicorn() -> None:
    try:
        import uvicorn  # noqa: F401
    except ImportError:
        raise ValueError(
            "the page needs uvicorn, which is not installed; install it with: pip install 'chexkeras[app]'"
        ) from None
