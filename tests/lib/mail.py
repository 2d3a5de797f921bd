# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Mail servers: Postfix's smtp-sink, a whole Postfix of its own, and one that reads a script."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time


# So many times as long as elsewhere: the daemon runs under something that makes it slow.
PATIENCE = int(os.environ.get("GATE25_PATIENCE", "1"))


def wait_for(condition, timeout=10.0, what="condition"):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout} s")
        time.sleep(0.01)


def end(process, sig=signal.SIGTERM, timeout=10):
    """Ends one process of ours, by force if it does not hear."""
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)


def listening(ns, address, port):
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port} " in ns.run(["ss", "-Hltn"]).stdout


class Sink:
    """smtp-sink: takes all mail and throws it away, at once."""

    def __init__(self, ns, address, port=25, extra=()):
        where = f"inet:[{address}]:{port}" if ":" in address else f"inet:{address}:{port}"
        self.process = ns.popen(["smtp-sink", "-u", "nobody", *extra, where, 200],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)
        wait_for(lambda: self.process.poll() is not None or listening(ns, address, port),
                 what=f"smtp-sink on {where}")
        if self.process.poll() is not None:
            raise RuntimeError(f"smtp-sink: {self.process.stderr.read().decode().strip()}")

    def close(self):
        end(self.process)


class Scripted:
    """A server that answers as it is told: banner="554 no", mail=…, rcpt=…, data=…, end=…."""

    def __init__(self, ns, addresses, port=25, **answers):
        script = os.path.join(os.path.dirname(__file__), "smtpd.py")
        pairs = [f"{verb}={text}" for verb, text in answers.items()]
        self.process = ns.popen([sys.executable, script, addresses, port, *pairs],
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        last = addresses.split(",")[-1]
        wait_for(lambda: self.process.poll() is not None or listening(ns, last, port),
                 what=f"server on {last}:{port}")
        if self.process.poll() is not None:
            raise RuntimeError(self.process.stderr.read().decode().strip())

    def close(self):
        end(self.process)


MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
mail_owner = postfix
setgid_group = postdrop
myhostname = {name}
mydestination =
inet_interfaces = all
inet_protocols = all
mynetworks = 0.0.0.0/0 [::]/0
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_host_lookup = native
smtp_dns_support_level = disabled
alias_maps =
alias_database =
local_recipient_maps =
default_transport = {transport}
relay_transport = {transport}
relayhost = {relayhost}
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
smtp_connect_timeout = 10s
"""

# The services of inet type, one an address, are added.
MASTER_CF = """\
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """
    A Postfix with a configuration, queue and log below `directory`. Without `relayhost`
    it takes mail and discards it; with one it sends there what it is given. `settings`
    are more lines of main.cf.
    """

    def __init__(self, ns, directory, interfaces, relayhost="", settings=""):
        self.ns, self.dir = ns, directory
        for sub in ("", "queue", "data"):
            os.makedirs(os.path.join(directory, sub), exist_ok=True)
        os.chmod(directory, 0o755)
        subprocess.run(["chown", "postfix", os.path.join(directory, "data")], check=True)
        with open(os.path.join(directory, "main.cf"), "w") as f:
            f.write(MAIN_CF.format(dir=directory, name=f"{ns.name}.example",
                                   transport="smtp" if relayhost else "discard",
                                   relayhost=relayhost) + settings)
        with open(os.path.join(directory, "master.cf"), "w") as f:
            f.write(MASTER_CF)
            for address in interfaces:
                f.write(f"[{address}]:25 inet n - n - - smtpd\n")
        self.process = ns.popen(["postfix", "-c", directory, "start-fg"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        for address in interfaces:
            wait_for(lambda: self.process.poll() is not None or listening(ns, address, 25),
                     what=f"Postfix on {address}: {self.log()}")
        if self.process.poll() is not None:
            raise RuntimeError(f"Postfix ended with {self.process.returncode}: {self.log()}")

    def close(self):
        # What was started is a script; the master process notes its own id.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            with open(os.path.join(self.dir, "queue/pid/master.pid")) as f:
                os.kill(int(f.read()), signal.SIGTERM)
        end(self.process)

    def log(self):
        try:
            with open(os.path.join(self.dir, "mail.log")) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def sent(self):
        """Number of mails that left its queue as delivered."""
        return len(re.findall(r"status=sent", self.log()))

    def submit(self, sender, recipient, text="hello"):
        """A mail into its queue, by sendmail(1)."""
        self.ns.run(["sendmail", "-C", self.dir, "-f", sender, recipient], timeout=30,
                    stdin=None, input=f"From: {sender}\nTo: {recipient}\nSubject: test\n\n{text}\n")
