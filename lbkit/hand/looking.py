"""What clients and HAProxy itself say: one HTTP question, one line to the stats socket."""

import time


def ask(question):
    """Answers of an HTTP(S) endpoint: [{status, location, served_by, error, elapsed_ms, certificate}].

    connect: (host, port) where the connection goes; name: for SNI and the Host header. The certificate is
    not verified here (a placeholder is right at first): its PEM is handed back to be judged.
    """
    return [ask_once(question) for _ in range(question.get("count", 1))]


def ask_once(question):
    import http.client
    import socket
    import ssl

    began, answer = time.monotonic(), {"status": None, "error": None}
    host, port = question["connect"]
    try:
        connection = socket.create_connection((host, port), timeout=question.get("timeout_s", 3))
        with connection:
            if question["tls"]:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection = context.wrap_socket(connection, server_hostname=question["name"])
                answer["certificate"] = ssl.DER_cert_to_PEM_cert(connection.getpeercert(True))
            client = http.client.HTTPConnection(question["name"])
            client.sock = connection
            method, path = question.get("method", "GET"), question.get("path", "/")
            client.request(method, path, headers={"User-Agent": "lbkit"})
            response = client.getresponse()
            answer.update(status=response.status, location=response.headers.get("Location"))
            answer["body"] = response.read(2048).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        answer["error"] = str(error) or type(error).__name__
    answer["elapsed_ms"] = round((time.monotonic() - began) * 1000, 1)
    return answer


def stats(path, command):
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(3)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return connection.makefile().read()
