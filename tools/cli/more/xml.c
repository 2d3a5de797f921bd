// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * libxml2 would give the same tree, but brings ICU and the C++ library along: half of
 * the time that each call of gate25 takes to start.
 */
#include "xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64
#define MAX_TEXT  4096 /* of one node: whatever is asked for is shorter */

struct reader {
	XML_Parser parser;
	struct xml_node *root, *at;
	int depth;
};

static const char *local(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static void give_up(struct reader *r)
{
	XML_StopParser(r->parser, XML_FALSE);
}

static struct xml_node *new_node(const char *name, const char **attributes)
{
	struct xml_node *n = calloc(1, sizeof(*n));
	size_t words = 0;

	while (attributes[words])
		words++;
	if (!n || !(n->name = strdup(local(name))) ||
	    !(n->attributes = calloc(words + 1, sizeof(*n->attributes)))) {
		xml_free(n);
		return NULL;
	}
	for (size_t i = 0; i < words; i++) {
		if (!(n->attributes[i] = strdup(attributes[i]))) {
			xml_free(n);
			return NULL;
		}
	}
	return n;
}

static void on_start(void *arg, const char *name, const char **attributes)
{
	struct reader *r = arg;
	struct xml_node *n = r->depth < MAX_DEPTH ? new_node(name, attributes) : NULL;

	if (!n) {
		give_up(r);
		return;
	}
	r->depth++;
	n->parent = r->at;
	if (!r->at)
		r->root = n;
	else if (r->at->last)
		r->at->last->next = n;
	else
		r->at->children = n;
	if (r->at)
		r->at->last = n;
	r->at = n;
}

static void on_end(void *arg, const char *name)
{
	struct reader *r = arg;

	r->at = r->at->parent;
	r->depth--;
}

static void on_text(void *arg, const char *text, int len)
{
	struct reader *r = arg;
	size_t had = r->at->text ? strlen(r->at->text) : 0;
	char *longer;

	if (had + len > MAX_TEXT)
		return;
	longer = realloc(r->at->text, had + len + 1);
	if (!longer) {
		give_up(r);
		return;
	}
	memcpy(longer + had, text, len);
	longer[had + len] = '\0';
	r->at->text = longer;
}

struct xml_node *xml_read(const char *text, size_t len)
{
	struct reader r = { .parser = XML_ParserCreate(NULL) };

	if (!r.parser)
		return NULL;
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetCharacterDataHandler(r.parser, on_text);
	if (XML_Parse(r.parser, text, (int)len, XML_TRUE) != XML_STATUS_OK) {
		xml_free(r.root);
		r.root = NULL;
	}
	XML_ParserFree(r.parser);
	return r.root;
}

void xml_free(struct xml_node *n)
{
	struct xml_node *next;

	if (!n)
		return;
	for (struct xml_node *c = n->children; c; c = next) {
		next = c->next;
		xml_free(c);
	}
	for (char **a = n->attributes; a && *a; a++)
		free(*a);
	free(n->attributes);
	free(n->text);
	free(n->name);
	free(n);
}

bool xml_is(const struct xml_node *n, const char *name)
{
	return n && strcmp(n->name, name) == 0;
}

const struct xml_node *xml_children(const struct xml_node *parent)
{
	return parent ? parent->children : NULL;
}

const struct xml_node *xml_child(const struct xml_node *parent, const char *name)
{
	for (const struct xml_node *n = xml_children(parent); n; n = n->next) {
		if (xml_is(n, name))
			return n;
	}
	return NULL;
}

static const char *copy(const char *value, char *buf, size_t size)
{
	buf[0] = '\0';
	if (value && strlen(value) < size)
		strcpy(buf, value);
	return buf;
}

const char *xml_attribute(const struct xml_node *n, const char *name, char *buf, size_t size)
{
	for (char **a = n ? n->attributes : NULL; a && *a; a += 2) {
		if (strcmp(a[0], name) == 0)
			return copy(a[1], buf, size);
	}
	return copy(NULL, buf, size);
}

const char *xml_text(const struct xml_node *n, char *buf, size_t size)
{
	return copy(n ? n->text : NULL, buf, size);
}
