// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What the readers of guests share: their objects, files and directories. */
#include "guests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

json_t *guest_new(const char *name)
{
	return json_pack("{s:s, s:[], s:[], s:[], s:[]}", "name", name, "ports", "macs", "ips",
			 "remarks");
}

void guest_add(json_t *guest, const char *list, const char *word)
{
	json_t *array = json_object_get(guest, list), *item;
	size_t i;

	json_array_foreach (array, i, item) {
		if (strcmp(json_string_value(item), word) == 0)
			return;
	}
	json_array_append_new(array, json_string(word));
}

void guest_remark(json_t *guest, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	guest_add(guest, "remarks", cli_clean(text));
}

bool guest_wanted(const struct guest_names *names, const char *name)
{
	for (unsigned i = 0; i < names->n; i++) {
		if (strcmp(names->v[i], name) == 0)
			return true;
	}
	return names->n == 0;
}

/* ---- files ---- */

static int cannot_read(const char *what, int error, struct gate_error *err)
{
	return gate_error_set(err, GATE_ERR_FAILED, "cannot read %.200s: %s", what,
			      strerror(error));
}

int guest_read_fd(int fd, const char *what, char **text, size_t *len, struct gate_error *err)
{
	size_t room = 65536, used = 0;
	char *data = malloc(room + 1), *grown;
	ssize_t n = -1;

	while (data && (n = read(fd, data + used, room - used)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || (used += (size_t)n) > GUEST_FILE_MAX)
			break;
		if (used < room)
			continue;
		room *= 2;
		grown = realloc(data, room + 1);
		if (!grown)
			break;
		data = grown;
	}
	if (!n) {
		data[used] = '\0';
		*text = data;
		*len = used;
		return 0;
	}
	n = used > GUEST_FILE_MAX ? EFBIG : data ? errno : ENOMEM;
	free(data);
	return cannot_read(what, (int)n, err);
}

int guest_read_file(int dir, const char *name, char **text, size_t *len, struct gate_error *err)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return cannot_read(name, errno, err);
	ret = guest_read_fd(fd, name, text, len, err);
	close(fd);
	return ret;
}

static int by_version(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_so(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && name[0] != '.' && strcmp(name + n - s, suffix) == 0;
}

int guest_list_files(const char *path, const char *suffix, char ***names, size_t *n,
		     struct gate_error *err)
{
	DIR *dir = opendir(path);
	const struct dirent *d;
	char **list = NULL, **grown;
	size_t count = 0;

	if (!dir)
		return cannot_read(path, errno, err);
	while ((d = readdir(dir))) {
		if (!ends_so(d->d_name, suffix))
			continue;
		grown = reallocarray(list, count + 1, sizeof(*list));
		if (grown)
			list = grown;
		if (!grown || !(list[count] = strdup(d->d_name))) {
			closedir(dir);
			guest_free_files(list, count);
			return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
		}
		count++;
	}
	closedir(dir);
	if (count)
		qsort(list, count, sizeof(*list), by_version);
	*names = list;
	*n = count;
	return 0;
}

void guest_free_files(char **names, size_t n)
{
	while (n > 0)
		free(names[--n]);
	free(names);
}
