// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 undo: takes back a change of the history. */
#include "cli.h"
#include "parse.h"

#include <stdlib.h>
#include <string.h>

static void print_undone(struct cli *c, const json_t *answer)
{
	const json_t *undone = json_object_get(answer, "undone");
	const char *action = cli_str(undone, "action"), *actor = cli_str(undone, "actor");
	const char *subject = cli_str(answer, "subject");

	cli_print(c, STYLE_PLAIN, "undone: change %llu, %s %s by %s",
		  (unsigned long long)cli_uint(undone, "id"), action ? action : "?",
		  subject ? subject : "?", actor ? actor : "?");
	cli_end_line();
	if (!cli_bool(answer, "gone")) {
		cli_print_in_force(c, answer);
		return;
	}
	cli_print(c, STYLE_PLAIN, "%s: nothing is registered or decided any more",
		  subject ? subject : "?");
	cli_end_line();
}

int cmd_undo(struct cli *c)
{
	json_t *answer = NULL, *body = json_object();
	struct gate_error err;
	uint32_t id = 0;
	int ret = body ? 0 : cli_no_memory(c);

	if (!ret && c->args.n && gate_parse_u32(c->args.v[0], 1, INT32_MAX, &id))
		ret = cli_usage(c, "\"%.40s\" is no number of a change", c->args.v[0]);
	if (!ret && id && json_object_set_new(body, "id", json_integer(id)))
		ret = cli_no_memory(c);
	if (!ret)
		ret = cli_set_reason(c, body);
	if (!ret && cli_call(c, "POST", "/v1/undo", body, &answer, &err))
		ret = cli_fail(c, &err);
	else if (!ret && c->json)
		cli_print_json(answer);
	else if (!ret)
		print_undone(c, answer);
	json_decref(answer);
	json_decref(body);
	return ret;
}
