import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from chexkeras.node.metrics import COUNTED, Metrics, MetricsServer, as_text


@pytest.fixture
def served():
    metrics, state = Metrics(), {"well": True}
    server = MetricsServer(0, metrics.samples, lambda: (state["well"], {"status": "ok" if state["well"] else "failed"}))
    server.start()
    yield server, metrics, state
    server.close()


def get(server, path):
    return urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5)


def test_metrics_are_text_that_prometheus_reads(served):
    server, metrics, _ = served
    metrics.count("refused", 'view;"odd"\\', by=2)
    metrics.count("received")
    with get(server, "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    assert "chexkeras_node_received_total 1" in lines
    assert r'chexkeras_node_refused_total{by="view;\"odd\"\\"} 2' in lines
    # Every name is told once, and before its values.
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(helped) == len(set(helped)) == len(COUNTED)
    for line in lines:
        if not line.startswith("#"):
            float(line.rsplit(" ", 1)[1])


def test_health_says_whether_all_is_well(served):
    server, _, state = served
    assert json.load(get(server, "/health")) == {"status": "ok"}
    state["well"] = False
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(server, "/health")
    assert caught.value.code == 503


@pytest.mark.parametrize("path", ["/", "/metrics/..", "/film.dcm", "/health?x=1"])
def test_nothing_else_is_answered(served, path):
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(served[0], path)
    assert caught.value.code == 404


def test_garbage_does_not_end_the_server(served, capsys):
    server = served[0]
    for content in (b"\x00\xff" * 200, b"GET\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 500, b""):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as to:
            to.sendall(content)
    assert get(server, "/metrics").status == 200
    assert capsys.readouterr().err == ""


def test_taken_port_is_told_in_a_sentence(served):
    with pytest.raises(OSError, match="--metrics-port"):
        MetricsServer(served[0].port, list, lambda: (True, {}))


def test_counts_of_many_threads_are_whole():
    metrics = Metrics()
    threads = [threading.Thread(target=lambda: [metrics.count("again") for _ in range(2_000)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert metrics.value("again") == 8_000


def test_unknown_name_is_an_error_and_no_new_metric():
    with pytest.raises(KeyError, match="not counted"):
        Metrics().count("recieved")


def test_labels_are_kept_apart():
    assert as_text([("a", "gauge", "x.", {"b": "1", "c": "2"}, 1e-7)]).splitlines()[-1] == (
        'chexkeras_node_a{b="1",c="2"} 1e-07'
    )
