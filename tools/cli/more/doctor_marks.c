// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Rules that write packet marks. On the legacy hook the backstop takes the stamp in a frame's mark
 * for the proof that its port has judged it: a rule that writes the same bits may wipe it off, so
 * that the frame is judged again, or forge it. With tcx no mark is looked at.
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who keeps such rules, how to ask for them, and what in a line writes a mark. */
static const struct {
	const char *name, *command;
	const char *words[6];
} keepers[] = {
	{ "nft",
	  "nft list ruleset",
	  { "meta mark set", "xt target \"MARK\"", "xt target \"CONNMARK\"", "xt target \"mark\"",
	    "-j MARK", "-j CONNMARK" } },
	{ "iptables",
	  "iptables-legacy-save",
	  { "--set-xmark", "--set-mark", "--restore-mark", "--or-mark", "--and-mark",
	    "--xor-mark" } },
	{ "ip6tables",
	  "ip6tables-legacy-save",
	  { "--set-xmark", "--set-mark", "--restore-mark", "--or-mark", "--and-mark",
	    "--xor-mark" } },
	{ "ebtables",
	  "ebtables-legacy-save",
	  { "--mark-set", "--mark-or", "--mark-and", "--mark-xor", "-j mark ", "--set-mark" } },
};

void doctor_say_marks(struct doctor *d, const char *who, const char *where)
{
	d->marks_written = true;
	doctor_say(d, FINDING_WARNING, "marks",
		   "[gate] stamp = mark:VALUE/MASK with bits that no rule writes, or stamp = none",
		   "%s%s%s writes packet marks: the stamp by which the backstop knows what a port "
		   "has judged (mark:0x%x/0x%x) may get lost or be forged",
		   who, where ? " on " : "", where ? where : "", d->conf->stamp,
		   d->conf->stamp_mask);
}

/* "table bridge other {" -> "table bridge other" */
static void note_table(const char *line, char *table, size_t size)
{
	const char *brace = strstr(line, " {");

	if (!strncmp(line, "table ", 6) && brace)
		snprintf(table, size, "%.*s", (int)(brace - line), line);
	else if (*line == '*')
		snprintf(table, size, "table %.*s", (int)strcspn(line + 1, "\n"), line + 1);
}

static bool writes_mark(const char *line, const char *const *words)
{
	for (int i = 0; i < 6; i++)
		if (strstr(line, words[i]))
			return true;
	return false;
}

/* One rule of each table is enough. */
static void look(struct doctor *d, size_t keeper)
{
	char command[64], table[64] = "", told[64] = "", who[96], *line = NULL;
	size_t room = 0;
	FILE *f;

	snprintf(command, sizeof(command), "%s 2>/dev/null", keepers[keeper].command);
	f = popen(command, "re");
	while (f && getline(&line, &room, f) > 0) {
		note_table(line, table, sizeof(table));
		if (!writes_mark(line, keepers[keeper].words) || !strcmp(table, told))
			continue;
		snprintf(told, sizeof(told), "%s", table);
		snprintf(who, sizeof(who), "%s (%s)", keepers[keeper].name, table);
		doctor_say_marks(d, who, NULL);
	}
	free(line);
	if (f)
		pclose(f);
}

void doctor_marks(struct doctor *d)
{
	if (!d->stamped)
		return;
	if (geteuid() != 0) {
		doctor_say(d, FINDING_UNKNOWN, "marks", "run gate25 doctor as root",
			   "whether rules write packet marks cannot be told");
		return;
	}
	for (size_t i = 0; i < sizeof(keepers) / sizeof(keepers[0]); i++)
		look(d, i);
	if (!d->marks_written)
		doctor_say(d, FINDING_OK, "marks", NULL,
			   "no rule was found that writes packet marks");
}
