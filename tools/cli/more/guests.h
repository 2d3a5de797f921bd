/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Guests as the virtualisation keeps them, read into what `vm add` registers. A
 * guest is an object {"name", "ports", "macs", "ips"[, "tenant"], "remarks"}; the
 * remarks are sentences about what of it the gate cannot see.
 */
#ifndef GATE25_CLI_GUESTS_H
#define GATE25_CLI_GUESTS_H

#include "../cli.h"

#define GUEST_FILE_MAX (4 << 20) /* bytes of one definition */

struct guest_names {
	const char *const *v; /* only these; n 0 = all */
	unsigned n;
};

/* A guest without anything yet; NULL = no memory. */
json_t *guest_new(const char *name);
/* Appends a string to a list of the guest, unless it is there. */
void guest_add(json_t *guest, const char *list, const char *word);
void guest_remark(json_t *guest, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool guest_wanted(const struct guest_names *names, const char *name);

/* All of a file or descriptor, NUL-terminated, freed by the caller; -errno with err. */
int guest_read_fd(int fd, const char *what, char **text, size_t *len, struct gate_error *err);
int guest_read_file(int dir, const char *name, char **text, size_t *len, struct gate_error *err);
/* Names of the files in a directory that end so, sorted; freed by guest_free_files(). */
int guest_list_files(const char *dir, const char *suffix, char ***names, size_t *n,
		     struct gate_error *err);
void guest_free_files(char **names, size_t n);

/* One domain's XML (virsh dumpxml, or libvirt's status file). NULL with err. */
json_t *guest_from_xml(const char *text, size_t len, const char *what, struct gate_error *err);
/* Appends to `guests`: running ones by virsh (from NULL), or those in a directory. */
int guests_libvirt(const char *from, const struct guest_names *names, json_t *guests,
		   struct gate_error *err);
/* Appends to `guests` those below a directory such as /etc/pve (from NULL). */
int guests_proxmox(const char *from, const struct guest_names *names, json_t *guests,
		   struct gate_error *err);

#endif
