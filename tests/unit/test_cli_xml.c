// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/cli/more/xml.h"

static void test_a_tree_as_it_was_written(void **state)
{
	static const char text[] = "<?xml version='1.0'?><!-- c --><d id='3' n:x='y'>"
				   "<name>we<b/>b1 &amp; co</name><n:if type='bridge'/><if/></d>";
	struct xml_node *d = xml_read(text, strlen(text));
	char buf[32], tiny[4];

	assert_true(xml_is(d, "d"));
	assert_string_equal(xml_attribute(d, "id", buf, sizeof(buf)), "3");
	assert_string_equal(xml_attribute(d, "none", buf, sizeof(buf)), "");
	assert_string_equal(xml_text(xml_child(d, "name"), buf, sizeof(buf)), "web1 & co");
	assert_string_equal(xml_text(xml_child(d, "name"), tiny, sizeof(tiny)), "");
	assert_string_equal(xml_attribute(xml_child(d, "if"), "type", buf, sizeof(buf)), "bridge");
	assert_null(xml_child(xml_child(d, "none"), "name"));
	xml_free(d);
}

static void test_what_is_no_definition(void **state)
{
	static const char *const rows[] = {
		"", "x", "<d>", "<d></e>", "<d/><d/>", "<d a=1/>", "<d>&none;</d>", "\xff\xfe<d/>",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s\n", rows[i]);
		assert_null(xml_read(rows[i], strlen(rows[i])));
	}
}

/* Entities that grow tenfold ten times over: a gigabyte out of a line. */
static void test_a_bomb_does_not_go_off(void **state)
{
	char text[4096];
	int n = sprintf(text, "<!DOCTYPE d [<!ENTITY e0 'xxxxxxxxxx'>");
	struct xml_node *d;

	for (int i = 1; i < 10; i++) {
		n += sprintf(text + n, "<!ENTITY e%d '", i);
		for (int k = 0; k < 10; k++)
			n += sprintf(text + n, "&e%d;", i - 1);
		n += sprintf(text + n, "'>");
	}
	n += sprintf(text + n, "]><d>&e9;</d>");
	d = xml_read(text, n);
	assert_null(d);
}

static void test_depth_and_length_have_an_end(void **state)
{
	enum { DEEP = 100, LONG = 100000 };
	char *text = malloc(LONG + 100), buf[256];
	struct xml_node *d;
	int n = 0;

	for (int i = 0; i < DEEP; i++)
		n += sprintf(text + n, "<d>");
	for (int i = 0; i < DEEP; i++)
		n += sprintf(text + n, "</d>");
	assert_null(xml_read(text, n));

	n = sprintf(text, "<d>");
	memset(text + n, 'x', LONG);
	n += LONG + sprintf(text + n + LONG, "</d>");
	d = xml_read(text, n);
	assert_non_null(d);
	assert_string_equal(xml_text(d, buf, sizeof(buf)), "");
	xml_free(d);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_tree_as_it_was_written),
		cmocka_unit_test(test_what_is_no_definition),
		cmocka_unit_test(test_a_bomb_does_not_go_off),
		cmocka_unit_test(test_depth_and_length_have_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
