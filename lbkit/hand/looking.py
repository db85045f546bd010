"""What clients and HAProxy itself say: one HTTP question, one line to the stats socket."""

import time


def ask(question):
    """Answers of an endpoint: [{status, location, body, error, elapsed_ms, certificate}].

    connect: (host, port) where the connection goes; name: for SNI and the Host header; http False: only
    connect. The certificate is not verified here (a placeholder is right at first): its PEM is handed back.
    """
    return [ask_once(question) for _ in range(question.get("count", 1))]


def ask_once(question):
    import http.client
    import socket

    began, answer = time.monotonic(), {"status": None, "error": None}
    try:
        with socket.create_connection(question["connect"], timeout=question.get("timeout_s", 3)) as plain:
            if question["http"]:
                answer.update(request(question, plain))
    except (OSError, http.client.HTTPException) as error:
        answer["error"] = str(error) or type(error).__name__
    answer["elapsed_ms"] = round((time.monotonic() - began) * 1000, 1)
    return answer


def request(question, plain):
    """One request over a connected socket, TLS first where wanted."""
    import http.client

    certificate, connection = None, plain
    if question["tls"]:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(plain, server_hostname=question["name"])
        certificate = ssl.DER_cert_to_PEM_cert(connection.getpeercert(True))
    with connection:
        client = http.client.HTTPConnection(question["name"])
        client.sock = connection
        path = question.get("path", "/")
        client.request(question.get("method", "GET"), path, headers={"User-Agent": "lbkit"})
        response = client.getresponse()
        return {
            "status": response.status,
            "location": response.headers.get("Location"),
            "body": response.read(2048).decode(errors="replace"),
            "certificate": certificate,
        }


def stats(path, command):
    """HAProxy's answer to one command on its stats socket."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(3)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return connection.makefile().read()
