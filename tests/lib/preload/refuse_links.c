// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Loaded before the daemon's libraries: the kernel refuses one change of a link.
 * REFUSE_LINK=N: the Nth update of a link fails, and the link that is made instead of it.
 * REFUSE_LINK=tcx: none can be made, as before Linux 6.6.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long updates;

/* The error, 0 = go on. */
static int refused(long number, long command)
{
	const char *which = getenv("REFUSE_LINK");

	if (!which || number != SYS_bpf)
		return 0;
	if (!strcmp(which, "tcx"))
		return command == BPF_LINK_CREATE ? EINVAL : 0;
	if (command == BPF_LINK_UPDATE)
		updates++;
	else if (command != BPF_LINK_CREATE)
		return 0;
	return updates == atol(which) ? EBUSY : 0;
}

long syscall(long number, ...)
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	errno = refused(number, a[0]);
	if (errno)
		return -1;
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
