"""``chexkeras node``: a DICOM node that answers a PACS."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chexkeras.checks import is_loopback
from chexkeras.cli.app import Profile, app, errors_for_people, tell
from chexkeras.node.settings import LOOPBACK, METRICS_PORT, PORT, NodeLimits, NodeSettings, Tls

if TYPE_CHECKING:
    from chexkeras.node.node import Node


@app.command()
@errors_for_people
def node(
    run: Annotated[Path, typer.Option(help="Run folder whose model and threshold are used.")],
    peer: Annotated[str, typer.Option(help="Where results are sent: TITLE@HOST:PORT.")],
    spool: Annotated[Path, typer.Option(help="Folder in which films wait; holds identifiers of patients.")],
    allow: Annotated[list[str], typer.Option("--allow", help="Title that may send films; again for others.")],
    aet: Annotated[str, typer.Option(help="The node's own application entity title.")] = "CHEXKERAS",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen at; by default this machine alone.")] = LOOPBACK,
    kinds: Annotated[str, typer.Option(help="What is made of a result, such as sr,sc,pr.")] = "sr",
    refused: Annotated[
        str,
        typer.Option(help="Films that the gate refuses: 'report' sends \"not assessed\" and why, 'silent' nothing."),
    ] = "report",
    profile: Profile = "clinical",
    engine: Annotated[
        str, typer.Option(help="What computes the scores: 'keras', 'openvino' or 'onnx' (extras of these names).")
    ] = "keras",
    metrics_port: Annotated[
        int, typer.Option(help="Port of this machine for /metrics and /health; 0 takes a free one, -1 opens none.")
    ] = METRICS_PORT,
    keep_originals: Annotated[
        bool, typer.Option("--keep-originals", help="Keep films in the spool after their results were sent.")
    ] = False,
    retry_dead: Annotated[
        bool,
        typer.Option("--retry-dead", help="Try films again that were put aside: after what was wrong is set right."),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="The node's certificate, PEM; with it, all callers need one.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="Certificates of those who sign callers' ones, PEM.")] = None,
    peer_tls: Annotated[bool, typer.Option("--peer-tls", help="Send results encrypted, too.")] = False,
    waiting: Annotated[int, typer.Option(help="Films that may wait; then senders are told to come again.")] = 1_000,
    largest: Annotated[float, typer.Option(help="Largest film, MiB.")] = 128.0,
    tries: Annotated[int, typer.Option(help="How often a result is offered that the peer refuses.")] = 8,
) -> None:
    """Receives films from a PACS by DICOM, scores each once, and sends the results back.

    For this machine alone unless --host says otherwise; titles outside --allow are rejected. Ctrl-C or SIGTERM ends it
    in order, with exit status 0; whatever ends it, the spool goes on where it was. Not a medical device.
    """
    given = [path for path in (tls_cert, tls_key, tls_ca) if path is not None]
    if given and (tls_cert is None or tls_key is None or tls_ca is None):
        raise ValueError("--tls-cert, --tls-key and --tls-ca belong together; give all three or none.")
    if peer_tls and not given:
        raise ValueError("--peer-tls needs --tls-cert, --tls-key and --tls-ca.")
    if not 1 <= largest <= 256:
        raise ValueError(f"--largest {largest:g} must be from 1 to 256 MiB, as many as a film may have.")
    tls = Tls(tls_cert, tls_key, tls_ca, peer_tls) if tls_cert and tls_key and tls_ca else None
    settings = NodeSettings(
        aet, peer, spool, tuple(allow), host=host, port=port,
        metrics_port=None if metrics_port == -1 else metrics_port,
        kinds=tuple(kind.strip() for kind in kinds.split(",")), refused=refused, profile=profile, engine=engine,
        keep_originals=keep_originals, retry_dead=retry_dead, tls=tls,
        limits=NodeLimits(object_bytes=int(largest * 2**20), waiting=waiting, tries=tries),
    )  # fmt: skip
    from chexkeras.node.node import Node, quiet_threads

    made = Node(run, settings)
    with quiet_threads(made.metrics):
        try:
            made.start()
            _tell(made, settings)
            made.run()
        except KeyboardInterrupt:
            tell("ending: what is in hand is finished")
        finally:
            made.close()
    left = made.spool.counts()
    tell(f"ended; {made.spool.queue_length} films wait in the spool, {left['dead']} were put aside")


def _tell(made: "Node", settings: NodeSettings) -> None:
    secured = "TLS with client certificates" if settings.tls else "not encrypted"
    tell(f"{settings.title} listens at {settings.host}:{made.receiver.port} ({secured})")
    tell(f"films from {', '.join(settings.allow)}; results to {settings.to}; spool {settings.spool}")
    if made.server is not None:
        tell(f"http://{LOOPBACK}:{made.server.port}/metrics and /health")
    if not is_loopback(settings.host) and settings.tls is None:
        tell("Caution: films and results go over the network unencrypted, and a title is no proof of who calls.")
    for caution in made.cautions:
        tell(f"Caution: {caution}")
