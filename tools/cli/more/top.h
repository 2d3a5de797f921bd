/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gate25 top in three parts: what is known of each VM over the last minute
 * (top_data.c, pure), the screen (top_view.c), the keys (cmd_top.c).
 */
#ifndef GATE25_CLI_TOP_H
#define GATE25_CLI_TOP_H

#include "../cli.h"
#include "table.h"

#define TOP_WINDOW_MS 60000
#define TOP_SAMPLES   31 /* one each two seconds, and the one they are compared with */
#define TOP_WORD_MAX  128

enum top_field { TOP_NEW, TOP_REFUSED, TOP_DESTINATIONS, TOP_REPLIES, TOP_5XX, TOP_FIELD_MAX };

struct top_sample {
	uint64_t v[TOP_FIELD_MAX];
};

enum top_sort {
	SORT_NEW,
	SORT_REFUSED,
	SORT_5XX,
	SORT_DESTINATIONS,
	SORT_OPEN,
	SORT_NAME,
	SORT_MAX
};

struct top_vm {
	char subject[96], tenant[64], state[16];
	bool enforce;
	uint64_t open;
	struct top_sample now, ring[TOP_SAMPLES];
	uint64_t seen; /* poll in which it was last there */
	/* of the last minute, or since it was first seen */
	double per_min[TOP_FIELD_MAX];
	double share_5xx; /* of the replies; < 0: there were none */
};

struct top_data {
	struct gate_table by_subject; /* -> struct top_vm */
	struct top_vm **vms;	      /* sorted, those that match the filter first */
	size_t n, shown;
	uint64_t poll;
	int64_t at_ms[TOP_SAMPLES]; /* when the samples were taken */
	double total_per_min[TOP_FIELD_MAX];
};

/* Takes the array "vms" of one answer. 0, or -ENOMEM. */
int top_data_take(struct top_data *d, const json_t *vms, int64_t now_ms);
/* Puts `vms` in order; filter "" = all: part of a subject, tenant or state. */
void top_data_sort(struct top_data *d, enum top_sort by, const char *filter);
void top_data_clear(struct top_data *d);

struct top_view {
	struct cli *c;
	enum top_sort sort;
	char filter[TOP_WORD_MAX];
	char message[600];
	bool bad;	   /* the message is of something that failed */
	bool stale;	   /* the daemon did not answer the last time */
	char selected[96]; /* subject */
	size_t first;	   /* row at the top of the screen */
	/* a line that is being typed; prompt "" = none */
	char prompt[200];
	const char *input;
};

/* Takes the terminal; a sentence when there is none that can be used. */
int top_view_open(struct top_view *v, struct gate_error *err);
void top_view_close(void);
void top_view_draw(struct top_view *v, const struct top_data *d);
/* Moves the selection by rows; INT_MIN, INT_MAX = to the ends. */
void top_view_move(struct top_view *v, const struct top_data *d, int rows);
int top_view_page(void);

#endif
