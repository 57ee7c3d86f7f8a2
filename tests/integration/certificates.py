"""A throw-away authority with the certificates that the TLS tests show each other, made by the openssl program."""
import pathlib
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """`directory`/<name>.crt is the authority's own certificate."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = pathlib.Path(directory), name
        self.certificate = self.directory / f"{name}.crt"
        self.key = self.directory / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", 2, "-subj", f"/CN={name}")

    def issue(self, name, subject, *, client=False, digest="sha256", key="rsa:2048", days=2):
        """(certificate, key) of `subject` ("/CN=app"); a server's is for localhost and 127.0.0.1."""
        at = self.directory / name
        certificate, private, request = at.with_suffix(".crt"), at.with_suffix(".key"), at.with_suffix(".csr")
        _openssl("req", "-newkey", key, "-nodes", "-keyout", private, "-out", request, "-subj", subject)
        extensions = at.with_suffix(".ext")
        extensions.write_text("extendedKeyUsage=clientAuth\n" if client else "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-out", certificate,
                 "-days", days, f"-{digest}", "-extfile", extensions)
        private.chmod(0o600)
        return certificate, private
