// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Whether stderr is the journal's stream is told by JOURNAL_STREAM, which holds
 * the device and inode of it (systemd.exec(5)). There the level goes in front as
 * "<3>" (sd-daemon(3)), which needs no library and never blocks on a socket of its
 * own; elsewhere people read it, so it is a word.
 */
#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static bool to_journal;
static int level_max = LOG_INFO;

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	if (fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

/* Call once at start; before that lines go out as for a person, at LOG_INFO. */
void gate_log_init(void)
{
	const char *debug = getenv("GATE25_DEBUG");

	to_journal = stderr_is_journal();
	level_max = debug && strcmp(debug, "1") == 0 ? LOG_DEBUG : LOG_INFO;
}

void gate_log_level(int max_level)
{
	level_max = max_level;
}

static const char *level_word(int level)
{
	switch (level) {
	case LOG_EMERG:
	case LOG_ALERT:
	case LOG_CRIT:
	case LOG_ERR:
		return "error: ";
	case LOG_WARNING:
		return "warning: ";
	case LOG_DEBUG:
		return "debug: ";
	default:
		return "";
	}
}

/*
 * One line, one write(2), so that lines of several processes do not mix. Control
 * characters become '?': names and reasons come from others, and a line break in
 * one would forge a log line.
 */
void gate_log(int level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	size_t used, i;
	va_list ap;
	int n;

	if (level > level_max)
		return;
	if (to_journal)
		n = snprintf(line, sizeof(line), "<%d>", level);
	else
		n = snprintf(line, sizeof(line), "%s", level_word(level));
	used = (size_t)n;

	va_start(ap, fmt);
	n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	used = strlen(line);
	for (i = 0; i < used; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[used++] = '\n';
	/* A log that cannot be written has nowhere left to be reported. */
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
