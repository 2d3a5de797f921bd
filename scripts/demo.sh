#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# The gate as a story of one minute, in network namespaces; see demo.py.
exec /usr/bin/python3 -B "$(dirname "$0")/demo.py" "$@"
