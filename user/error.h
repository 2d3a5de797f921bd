/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One clear sentence for whoever asked, with a code that maps to an exit status. */
#ifndef GATE25_ERROR_H
#define GATE25_ERROR_H

/* The values are the exit codes of the CLI. */
enum gate_error_code {
	GATE_OK = 0,
	GATE_ERR_FAILED = 1,	  /* HTTP 500, or 507 for the store */
	GATE_ERR_USAGE = 2,	  /* HTTP 400: malformed, impossible, unknown key */
	GATE_ERR_NO_SUBJECT = 3,  /* HTTP 404 */
	GATE_ERR_UNREACHABLE = 4, /* CLI only */
	GATE_ERR_PARTIAL = 5,	  /* CLI only */
	GATE_ERR_DENIED = 6,	  /* HTTP 403 */
	GATE_ERR_CONFLICT = 7,	  /* HTTP 409: belongs to another VM; CLI exits 1 */
};

struct gate_error {
	enum gate_error_code code;
	char message[512];
};

/* Fills err (if any) and returns -EINVAL, -ENOENT, -EPERM, -EEXIST or -EIO by code. */
int gate_error_set(struct gate_error *err, enum gate_error_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
