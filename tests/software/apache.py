"""Debian's Apache, private: on loopback, with TLS by the tests' authority, everything it writes in a folder of its own.

    server = Apache({"wiki.test": "the lines of its VirtualHost"}, authority, folder)
    with server.running(): …

Names ending in `.test` are this machine for Apache too, by Debian's libnss-wrapper.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.servers import START_LIMIT, free_port, program
from tests.support.tls import Authority

ACCOUNT: Final = "www-data"
MODULES: Final = Path("/usr/lib/apache2/modules")
USED: Final = (
    "mpm_prefork", "authn_core", "authz_core", "authz_host", "authz_user", "access_compat", "alias", "dir", "env", "include",
    "mime", "negotiation", "rewrite", "setenvif", "socache_shmcb", "ssl", "auth_openidc", "wsgi",
)  # fmt: skip


@dataclass
class Apache:
    """One server with a virtual host for each name."""

    folder: Path
    """Readable by the server's account alone."""
    authority: Authority
    port: int = field(default_factory=free_port)
    hosts: dict[str, str] = field(default_factory=dict)
    """Name -> what stands in its VirtualHost."""

    def url(self, name: str) -> str:
        return f"https://{name}:{self.port}/"

    def hand_over(self) -> None:
        """The folder and all in it belong to the server's account, which reads nothing else of the tests'."""
        if os.geteuid() != 0:
            return
        account = pwd.getpwnam(ACCOUNT)
        for place in (self.folder, *self.folder.rglob("*")):
            os.chown(place, account.pw_uid, account.pw_gid, follow_symlinks=False)

    @contextmanager
    def running(self, known: Sequence[str]) -> Iterator[None]:
        """Until the block ends, with `known` names found on loopback beside its own."""
        (self.folder / "apache.conf").write_text(self._configuration())
        # One line: of an address on several, the wrapper tells several times, and Apache would listen as often.
        (self.folder / "hosts").write_text(f"127.0.0.1 {' '.join((*known, *self.hosts))}\n")
        self.hand_over()
        with (self.folder / "output").open("wb") as output:
            server = subprocess.Popen(
                [*_as_account(), program("apache2", "usr/sbin"), "-d", str(self.folder), "-f", "apache.conf", "-D", "FOREGROUND"],
                stdout=output, stderr=output, cwd=self.folder, env=self._environment(), start_new_session=True,
            )  # fmt: skip
        try:
            wait_for(self.port, server, self.folder / "output")
            yield
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:  # a child that waits for a browser
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(30)

    def php(self) -> list[str]:
        """What a VirtualHost with PHP says; what PHP keeps lies in the folder."""
        return [
            f"php_admin_value session.save_path {self.folder}", f"php_admin_value sys_temp_dir {self.folder}",
            "<FilesMatch \\.php$>", "SetHandler application/x-httpd-php", "</FilesMatch>",
        ]  # fmt: skip

    @property
    def log(self) -> str:
        """What went wrong, in its own words."""
        return (self.folder / "error.log").read_text(errors="replace")

    def _configuration(self) -> str:
        leaf = self.authority.leaf(*self.hosts)
        for source, name in ((leaf.certificate, "leaf.pem"), (leaf.key, "leaf.key"), (self.authority.ca, "ca.pem")):
            shutil.copy(source, self.folder / name)
        lines = [
            *(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in USED),
            f"LoadModule php_module {_php()}",
            f"Listen 127.0.0.1:{self.port}", f"PidFile {self.folder}/pid", f"ErrorLog {self.folder}/error.log",
            f"Mutex file:{self.folder} default", f"DefaultRuntimeDir {self.folder}", "ServerName localhost",
            "TypesConfig /etc/mime.types", "StartServers 3", "MaxRequestWorkers 12", "SSLSessionCache none",
            # What any site with a certificate of its own house's would have to say beside the guide.
            f"OIDCCABundlePath {self.folder}/ca.pem",
        ]  # fmt: skip
        for name, inner in self.hosts.items():
            lines += [
                f"<VirtualHost 127.0.0.1:{self.port}>", f"ServerName {name}:{self.port}", "UseCanonicalName On", "SSLEngine on",
                f"SSLCertificateFile {self.folder}/leaf.pem", f"SSLCertificateKeyFile {self.folder}/leaf.key", inner,
                "</VirtualHost>",
            ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TMPDIR": str(self.folder),
            "LD_PRELOAD": program("libnss_wrapper.so", "usr/lib/*"), "NSS_WRAPPER_HOSTS": str(self.folder / "hosts"),
        }  # fmt: skip


def wait_for(port: int, server: subprocess.Popen[bytes], output: Path) -> None:
    """Until it listens. Raises RuntimeError with what it said if it does not."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{output.read_text(errors='replace')}") from None
            time.sleep(0.05)


def _php() -> Path:
    found = sorted(MODULES.glob("libphp*.so"))
    if not found:
        raise RuntimeError("Apache's module of PHP is missing; `make test` installs what the tests need")
    return found[-1]


def _as_account() -> list[str]:
    """Apache's own program drops root only by name; started as its account it needs no such power at all."""
    command = [program("setpriv"), "--pdeathsig", "TERM"]
    if os.geteuid() == 0:
        command += [f"--reuid={ACCOUNT}", f"--regid={pwd.getpwnam(ACCOUNT).pw_gid}", "--clear-groups"]
    return command
