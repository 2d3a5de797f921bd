// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int errno_of(enum gate_error_code code)
{
	switch (code) {
	case GATE_OK:
		return 0;
	case GATE_ERR_USAGE:
		return -EINVAL;
	case GATE_ERR_NO_SUBJECT:
		return -ENOENT;
	case GATE_ERR_DENIED:
		return -EPERM;
	case GATE_ERR_CONFLICT:
		return -EEXIST;
	case GATE_ERR_FAILED:
	case GATE_ERR_UNREACHABLE:
	case GATE_ERR_PARTIAL:
		break;
	}
	return -EIO;
}

int gate_error_set(struct gate_error *err, enum gate_error_code code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		va_start(ap, fmt);
		vsnprintf(err->message, sizeof(err->message), fmt, ap);
		va_end(ap);
	}
	return errno_of(code);
}
