"""The server: who is answered, with what, and that nothing else is to be had."""

import http.client
import json
import socket
from threading import Thread

import pytest

from nasoseg.errors import NasosegError
from nasoseg.report.view.server import ServedFile, StudyServer

PAGE = ServedFile("text/html; charset=utf-8", b"<!doctype html><title>page</title>")


@pytest.fixture(scope="module")
def small():
    with StudyServer({"": PAGE, "ct.nii": ServedFile("application/octet-stream", b"voxels")}) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path, *, method="GET", host=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Host": f"127.0.0.1:{server.port}" if host is None else host}
    connection.request(method, path, headers=headers, body=body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def raw(server, request):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()


def test_it_serves_its_files_with_headers_that_shut_the_page_in(small):
    answer, content = ask(small, f"/{small.token}/")
    assert (answer.status, content) == (200, PAGE.content)
    assert answer.headers["Content-Type"] == PAGE.content_type
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    for name, value in {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Server": "nasoseg",
    }.items():
        assert answer.headers[name] == value
    assert ask(small, f"/{small.token}/ct.nii")[1] == b"voxels"
    answer, content = ask(small, f"/{small.token}/ct.nii", method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], content) == (200, "6", b"")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost"])
def test_the_names_of_this_machine_are_answered(small, name):
    assert ask(small, f"/{small.token}/", host=f"{name}:{small.port}")[0].status == 200


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", "127.0.0.1:{port}.evil"]
)
def test_other_hosts_are_refused(small, host):
    answer, content = ask(small, f"/{small.token}/", host=host.format(port=small.port))
    assert answer.status == 403
    assert PAGE.content not in content
    assert answer.headers["Content-Security-Policy"]


def test_no_host_and_two_hosts_are_refused(small):
    line = f"GET /{small.token}/ HTTP/1.1\r\n".encode()
    good = f"Host: 127.0.0.1:{small.port}\r\n".encode()
    for hosts in (b"", good + good, good + b"Host: evil.example\r\n"):
        assert raw(small, line + hosts + b"\r\n").startswith(b"HTTP/1.1 403 ")
    assert b"page" not in raw(small, f"GET /{small.token}/\r\n\r\n".encode())  # HTTP/0.9


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/{token}",
        "/{token}x/",
        "/" + "a" * 32 + "/",
        "/ä€/",
        "/{token}/../../../../etc/passwd",
        "/{token}/%2e%2e/%2e%2e/etc/passwd",
        "/{token}//etc/passwd",
        "/{token}/ct.nii/",
        "/{token}/ct.nii?x",
        "/{token}/CT.nii",
        "/{token}/server.py",
        "/favicon.ico",
        "http://127.0.0.1/{token}/",
    ],
)
def test_nothing_else_is_found(small, path):
    request = f"GET {path.format(token=small.token)} HTTP/1.1\r\nHost: 127.0.0.1:{small.port}\r\n\r\n"
    answer = raw(small, request.encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\nnot here\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X<b>"])
def test_only_get_and_head_are_answered(small, method):
    request = f"{method} /{small.token}/ HTTP/1.1\r\nHost: 127.0.0.1:{small.port}\r\nContent-Length: 3\r\n\r\nabc"
    answer = raw(small, request.encode())
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"<" not in answer
    assert b"no-store" in answer


def test_it_listens_on_loopback_with_a_new_secret_each_time(small):
    assert small.socket.getsockname()[0] == "127.0.0.1"
    with StudyServer({}) as other:
        assert other.token != small.token
        assert len(other.token) >= 32
        assert other.url == f"http://127.0.0.1:{other.port}/{other.token}/"


def test_a_port_in_use_and_no_port_are_errors(small):
    with pytest.raises(NasosegError, match=f"--port {small.port}: cannot be opened on 127.0.0.1 .*choose another"):
        StudyServer({}, small.port)
    with pytest.raises(NasosegError, match="--port 70000: cannot be opened"):
        StudyServer({}, 70000)


def test_a_study_is_data_and_not_markup(server, shown):
    answer, content = ask(server, f"/{server.token}/study.json")
    assert answer.headers["Content-Type"] == "application/json"
    described = json.loads(content)
    assert [one["name"] for one in described["sets"]] == [one.name for one in shown.sets]
    page = ask(server, f"/{server.token}/")[1]
    assert b"Parotid" not in page
    linked = {line.split('"')[1] for line in page.decode().replace("href=", "src=").split("src=")[1:]}
    for name in linked - {"data:,", "#canvas"}:
        assert ask(server, f"/{server.token}/{name}")[0].status == 200
