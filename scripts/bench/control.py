# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Goals 8, 9, 10 and 14: the daemon and the CLI as they are shipped."""
def apply_set(run): raise NotImplementedError
block = metrics = at_rest = apply_set
