// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The table of commands: parsing, help and completion all read it. */
#include "cli.h"

#define TIMES	(O(FOR) | O(UNTIL))
#define VM_KEYS (O(PORT) | O(MAC) | O(IP) | O(PAIR) | O(TENANT) | O(BINDING) | O(REASON))

/* The first is what `gate25` alone does. */
const struct cli_command cli_commands[] = {
	{
		.name = "status",
		.summary = "the host: hooks, ports, totals, enforcement, what is wrong",
		.run = cmd_status,
	},
	{
		.name = "list",
		.summary = "one line per VM",
		.options = O(TENANT) | O(STATE) | O(EXPIRING) | O(SORT),
		.run = cmd_list,
		.more = "REFUSED counts limited and blocked connections. A \"~\" behind the state: "
			"it is only observed.",
	},
	{
		.name = "show",
		.args = "SUBJECT...",
		.summary = "effective policy, where it comes from, counters, buckets",
		.options = O(CUSTOMER),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_show,
	},
	{
		.name = "why",
		.args = "SUBJECT [DESTINATION[:PORT]]",
		.summary = "what the gate says to a connection, step by step",
		.min_args = 1,
		.max_args = 2,
		.words = { WORDS_SUBJECT },
		.run = cmd_why,
		.more = "A made packet is run through the loaded program; nothing is spent or "
			"counted.\nDESTINATION is an address, such as 192.0.2.1:25 or "
			"[2001:db8::1]:25.",
	},
	{
		.name = "allow",
		.args = "SUBJECT...",
		.summary = "let all connections through",
		.options = TIMES | O(ON) | O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_allow,
	},
	{
		.name = "limit",
		.args = "SUBJECT...",
		.summary = "let connections through within limits",
		.options = O(RATE) | O(BURST) | O(CONCURRENT) | O(DESTINATIONS) | O(REFUSE) |
			   O(ON) | TIMES | O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_limit,
		.more = "What is not given comes from [default] of the configuration.",
	},
	{
		.name = "block",
		.args = "SUBJECT...",
		.summary = "refuse all connections",
		.options = O(REFUSE) | O(DRAIN) | O(ON) | TIMES | O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_block,
		.more = "Running connections are cut too, unless --drain is given.",
	},
	{
		.name = "quarantine",
		.args = "SUBJECT...",
		.summary = "refuse everything, above every policy, until released",
		.options = TIMES | O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_quarantine,
		.more = "Neither exempt destinations nor observe weaken it.",
	},
	{
		.name = "release",
		.args = "SUBJECT...",
		.summary = "end a quarantine",
		.options = O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_release,
	},
	{
		.name = "inherit",
		.args = "SUBJECT...",
		.summary = "drop the subject's own policy, fall back",
		.options = O(ON) | O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_inherit,
	},
	{
		.name = "budget",
		.args = "SUBJECT... [none]",
		.summary = "one bucket that all VMs of a tenant or prefix share",
		.options = O(RATE) | O(REASON),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_NONE_WORD },
		.run = cmd_budget,
		.more = "It is spent in addition to the limits of each VM. \"none\" takes it away.",
	},
	{
		.name = "exempt",
		.args = "SUBJECT... add|del DESTINATION...",
		.summary = "destinations that need no leave",
		.options = O(REASON),
		.min_args = 3,
		.words = { WORDS_SUBJECT, WORDS_ADD_DEL },
		.run = cmd_exempt,
		.more = "Such as the relay of a customer. They beat block and limit, not "
			"quarantine.",
	},
	{
		.name = "observe",
		.args = "SUBJECT... on|off",
		.summary = "count what would be refused, refuse nothing",
		.options = O(REASON),
		.min_args = 2,
		.words = { WORDS_SUBJECT, WORDS_ON_OFF },
		.run = cmd_observe,
	},
	{
		.name = "vm add",
		.args = "NAME",
		.summary = "register a VM",
		.options = VM_KEYS,
		.min_args = 1,
		.max_args = 1,
		.run = cmd_vm_add,
		.more = "Policy and counters of a port that nobody had registered move to the VM.",
	},
	{
		.name = "vm set",
		.args = "NAME",
		.summary = "change a registration",
		.options = VM_KEYS,
		.min_args = 1,
		.max_args = 1,
		.words = { WORDS_VM },
		.run = cmd_vm_set,
		.more = "What is not given stays; \"none\" empties: --tenant none, --mac none.",
	},
	{
		.name = "vm del",
		.args = "NAME...",
		.summary = "drop a registration and its policy",
		.options = O(REASON),
		.min_args = 1,
		.words = { WORDS_VM, WORDS_VM },
		.run = cmd_vm_del,
	},
	{
		.name = "vm list",
		.summary = "registered VMs",
		.options = O(TENANT),
		.run = cmd_vm_list,
	},
	{
		.name = "vm import",
		.args = "libvirt|proxmox [GUEST...]",
		.summary = "register the guests that are there already",
		.options = O(FROM) | O(TENANT) | O(DRY_RUN),
		.min_args = 1,
		.words = { WORDS_IMPORT },
		.run = cmd_vm_import,
		.more = "libvirt: running ones by virsh, or those whose XML lies in DIR. proxmox: "
			"those below\n/etc/pve or DIR, by their number.",
	},
	{
		.name = "events",
		.summary = "refusals, policy changes, ports coming and going",
		.options = O(FOLLOW) | O(SUBJECT),
		.run = cmd_events,
		.more = "A \"!\" behind \"refused\": the VM's first refusal for 24 hours. Each VM "
			"has a "
			"ration;\nwhat was not told for it is summed up as \"lost\".",
	},
	{
		.name = "top",
		.summary = "VMs by new connections, refusals, 5xx replies, destinations, live",
		.run = cmd_top,
		.more = "Figures are of the last minute. Keys: arrows select; n, r, 5, d, o, s "
			"sort; "
			"/ filters;\nb blocks and a allows the selected VM, asking for a reason; q "
			"quits.",
	},
	{
		.name = "report",
		.args = "SUBJECT...",
		.summary = "what it tried, hour by hour, and its last refusals",
		.options = O(SINCE),
		.min_args = 1,
		.words = { WORDS_SUBJECT, WORDS_SUBJECT },
		.run = cmd_report,
		.more = "Kept for 30 days, the last 50 refusals of each VM. A \"~\" behind a "
			"reason: "
			"only counted.\nOf a tenant: the sums of its VMs.",
	},
	{
		.name = "undo",
		.args = "[ID]",
		.summary = "take back a change of the history",
		.options = O(REASON),
		.max_args = 1,
		.run = cmd_undo,
		.more = "Without ID your own last change. Refused if the subject was changed "
			"since.",
	},
	{
		.name = "history",
		.args = "[SUBJECT]",
		.summary = "who changed what, when, why",
		.options = O(LIMIT),
		.max_args = 1,
		.words = { WORDS_SUBJECT },
		.run = cmd_history,
	},
	{
		.name = "export",
		.summary = "whole policy as JSON Lines on stdout",
		.run = cmd_export,
	},
	{
		.name = "apply",
		.args = "FILE|-",
		.summary = "put a whole policy in force, all or nothing",
		.options = O(DRY_RUN) | O(SHADOW),
		.min_args = 1,
		.max_args = 1,
		.words = { WORDS_FILE },
		.run = cmd_apply,
		.more = "Prints the differences: + added, - removed, ~ changed. With --shadow the "
			"file is judged beside the live policy; see shadow.",
	},
	{
		.name = "shadow",
		.summary = "what the policy of apply --shadow would have refused",
		.options = O(PROMOTE) | O(DROP),
		.run = cmd_shadow,
		.more = "One line for each VM that opened flows since the shadow policy began.",
	},
	{
		.name = "doctor",
		.summary = "what keeps this host from gating, with remedies",
		.options = O(CONFIG),
		.run = cmd_doctor,
		.more = "Works without the daemon; as root it sees more.",
	},
	{
		.name = "detach",
		.summary = "take the gate off every port: the only command that opens it",
		.options = O(YES) | O(PURGE) | O(CONFIG),
		.run = cmd_detach,
		.more = "Stop the daemon first, it would attach again. Needs root.",
	},
	{
		.name = "version",
		.summary = "version of this program",
		.run = cmd_version,
	},
	{
		.name = "help",
		.args = "[COMMAND]",
		.summary = "help on a command",
		.max_args = 2,
		.words = { WORDS_COMMAND, WORDS_COMMAND },
		.run = cmd_help,
	},
	/* for the shells; without a summary it stays out of the help */
	{
		.name = "__complete",
		.args = "WORD...",
		.min_args = 1,
		.run = cmd_complete,
	},
	{ .name = NULL },
};
