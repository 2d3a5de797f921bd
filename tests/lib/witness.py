# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""The witness of what happens to the daemon: three guests send, one is blocked, one sends mail,
one is limited. What holds in the end: no frame of the blocked one got out and each was counted,
no session of the second broke, the third got what its limit says and no more, no counter went
back.
"""

import contextlib
import time

from lab import SERVER4, SILENT4
from load import census, mails, syns

BLOCKED, MAILER, LIMITED = "port:vnet1", "port:vnet2", "port:vnet3"
PER_MIN, BURST = 120, 10
GAUGES = {"flows_active"}


class Witness:
    """Three guests under load, and what must be true of them."""

    def __init__(self, lab, per_s=500, mailer=MAILER):
        self.lab = lab
        self.mail_subject = mailer
        self.extra_refusals = 0  # what the test itself has tried as guest 1
        self.given_up = False
        lab.cli("block", BLOCKED)
        lab.cli("limit", LIMITED, "--rate", f"{PER_MIN}/min", "--burst", BURST)
        self.before = self.counters()
        self.refused_before = self.refusals_by_reason()
        self.far = census(lab)
        self.begin = time.monotonic()
        self.blocked = syns(lab, 1, SILENT4, per_s)
        self.mailer = mails(lab, 2, SERVER4)
        self.limited = syns(lab, 3, SILENT4, 50)

    def counters(self):
        return {s: self.lab.counters(s) for s in (BLOCKED, self.mail_subject, LIMITED)}

    def refusals_by_reason(self):
        """The host's count of frames that a block has stopped, kept apart from the VMs'."""
        return self.lab.status()["reasons"].get("blocked", 0)

    def check_progress(self):
        """Nothing went back since the last look."""
        now = self.counters()
        back = [(s, key, self.before[s].get(key), value) for s, row in now.items()
                for key, value in row.items() if key not in GAUGES and value < self.before[s].get(key, 0)]
        assert not back, back
        self.before = now

    def under_way(self):
        now = self.counters()
        return now[BLOCKED]["flows_blocked"] > 100 and now[self.mail_subject]["flows_admitted"] > 10

    def give_up(self):
        """There will be no daemon to ask: only what got out is looked at."""
        self.given_up = True

    def end(self):
        if not self.given_up:
            self.lab.poll(self.under_way, 20, "load")
        sent, mail = self.blocked.stop()["sent"], self.mailer.stop()
        limited = self.limited.stop()["sent"]
        took = time.monotonic() - self.begin
        assert not mail["failures"], mail
        assert self.far.count(self.lab.guest(1)) == 0
        passed = self.far.count(self.lab.guest(3))
        most = BURST + PER_MIN / 60 * took + 1
        assert passed <= most, (passed, most)
        if not self.given_up:
            self.end_counters(sent + self.extra_refusals, mail, limited, passed)
        return sent, mail["sessions"], passed

    def end_counters(self, sent, mail, limited, passed):
        mailer = self.mail_subject

        def settled():
            now = self.counters()
            return now if now[BLOCKED]["flows_blocked"] >= sent else None
        now = self.lab.poll(settled, 5, "all refusals counted")
        assert passed >= BURST, passed
        assert now[BLOCKED]["flows_blocked"] == sent, (now[BLOCKED], sent)
        counted = self.refusals_by_reason() - self.refused_before
        assert counted == sent, (counted, sent)
        assert now[LIMITED]["flows_admitted"] == passed, (now[LIMITED], passed)
        assert now[LIMITED]["flows_limited"] == limited - passed, (now[LIMITED], limited, passed)
        # A SYN that comes again after its answer was seen, but got lost, is a new flow.
        syns_seen = self.far.count(self.lab.guest(2))
        assert mail["sessions"] + 1 <= now[mailer]["flows_admitted"] <= syns_seen, \
            (now[mailer], mail, syns_seen)
        assert now[mailer]["flows_limited"] + now[mailer]["flows_blocked"] == 0, now[mailer]
        self.check_progress()


@contextlib.contextmanager
def witness(lab, **options):
    w = Witness(lab, **options)
    yield w
    sent, sessions, passed = w.end()
    print(f"# {sent} refused, {sessions} mails, {passed} admitted by the limit")
