"""`nasoseg view` from the command line: served until Ctrl-C, and what is refused before any work."""

import http.client
import os
import signal
import socket
import time
from pathlib import Path
from threading import Thread

import pytest

import nasoseg.report.view.niivue as niivue_module
from nasoseg.report.view.niivue import FOLDER, SCRIPT


def interrupt_once_it_listens(port: int, answers: list[int]) -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/")
            answers.append(connection.getresponse().status)
            connection.close()
            os.kill(os.getpid(), signal.SIGINT)
            return
        except OSError:
            time.sleep(0.1)


@pytest.mark.skipif(not (FOLDER / SCRIPT).is_file(), reason="built without NiiVue: python tools/vendor_niivue.py")
def test_it_serves_until_ctrl_c(small_store, nasoseg_command):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers: list[int] = []
    thread = Thread(target=interrupt_once_it_listens, args=(port, answers))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    try:
        thread.start()
        ended = nasoseg_command("view", small_store.path, "--patient", "pt_100", "--port", port, "--no-browser")
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.code == 0, ended.err
    assert answers == [404]  # without the secret
    assert f"view: http://127.0.0.1:{port}/" in ended.out
    assert ended.out.endswith("view: ended\n")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_without_niivue_it_says_what_to_do(small_store, tmp_path, nasoseg_command, monkeypatch):
    monkeypatch.setattr(niivue_module, "FOLDER", tmp_path)
    ended = nasoseg_command("view", small_store.path, "--patient", "pt_100")
    assert ended.code == 1
    assert "the viewer NiiVue is not there" in ended.err
    assert "python tools/vendor_niivue.py" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patient", "pt_1"], "--patient 'pt_1': "),
        (["--patient", "pt_100", "--prediction", "a=x", "--prediction", "a=y"], "two are called 'a'"),
        (["--patient", "pt_100", "--prediction", "a="], "--prediction 'a=': expected PATH or NAME=PATH"),
        (["--patient", "pt_100", "--prediction", "gone"], "gone: no such file or folder"),
        (["--port", "65536"], "--port: found 65536, expected 0 (a free one) to 65535"),
    ],
)
def test_what_does_not_fit_is_an_error(small_store, nasoseg_command, monkeypatch, tmp_path, arguments, message):
    (tmp_path / SCRIPT).write_bytes(b"")
    monkeypatch.setattr(niivue_module, "FOLDER", tmp_path)  # the same with and without NiiVue
    ended = nasoseg_command("view", small_store.path, *arguments)
    assert ended.code == 1
    assert message in ended.err


def test_a_path_with_an_equals_sign_is_a_path(tmp_path, monkeypatch):
    from nasoseg.cli.view import _named

    monkeypatch.chdir(tmp_path)
    Path("a=b").mkdir()
    assert _named(["a=b"]) == {"prediction": Path("a=b")}
    assert _named(["a=b", "x=a=b"]) == {"prediction 1": Path("a=b"), "x": Path("a=b")}
