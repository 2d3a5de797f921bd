/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A definition as a tree, read by expat. Of names the prefix is left out: what they
 * are told by is their place.
 */
#ifndef GATE25_CLI_XML_H
#define GATE25_CLI_XML_H

#include <stdbool.h>
#include <stddef.h>

struct xml_node {
	char *name;
	char **attributes; /* name, value, …, NULL */
	char *text;	   /* between its own tags, NULL = none */
	struct xml_node *parent, *children, *last, *next;
};

/* Freed by xml_free(); NULL: no well-formed XML, or no memory. */
struct xml_node *xml_read(const char *text, size_t len);
void xml_free(struct xml_node *root);

/* All of these take NULL for a node that is not there. */
bool xml_is(const struct xml_node *n, const char *name);
/* The first child of that name, NULL = none. */
const struct xml_node *xml_child(const struct xml_node *parent, const char *name);
const struct xml_node *xml_children(const struct xml_node *parent);
/* Copied into `buf`; "" when absent or too long. */
const char *xml_attribute(const struct xml_node *n, const char *name, char *buf, size_t size);
const char *xml_text(const struct xml_node *n, char *buf, size_t size);

#endif
