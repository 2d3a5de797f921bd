// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Guests of libvirt. The definition is what `virsh dumpxml` prints of a running
 * domain: only that names the host's devices. OpenStack's Nova leaves owner and
 * addresses in the metadata of its domains.
 */
#include "guests.h"
#include "parse.h"
#include "xml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void add_address(json_t *guest, const char *word)
{
	struct gate_prefix p;
	char text[64];

	if (gate_parse_prefix(word, &p) == 0 && p.len == 128)
		guest_add(guest, "ips", gate_format_prefix(&p, text, sizeof(text)));
}

/* ---- one interface ---- */

/* Types whose frames never pass a device of the host, or not as the guest's. */
static const char *not_seen(const char *type)
{
	static const struct {
		const char *type, *why;
	} types[] = {
		{ "hostdev", "passes by the host (device assignment)" },
		{ "vhostuser", "passes by the kernel (vhost-user)" },
		{ "vdpa", "passes by the host (vDPA)" },
		{ "user", "is the host's own traffic (user-mode network)" },
		{ "udp", "goes through a socket of the emulator" },
		{ "mcast", "goes through a socket of the emulator" },
		{ "server", "goes through a socket of the emulator" },
		{ "client", "goes through a socket of the emulator" },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].type, type) == 0)
			return types[i].why;
	}
	return NULL;
}

/* Addresses that the host binds the interface to: <ip> and the filter's parameters. */
static void add_addresses(json_t *guest, const struct xml_node *interface)
{
	const struct xml_node *filter = xml_child(interface, "filterref");
	char word[64], key[16];

	for (const struct xml_node *n = interface->children; n; n = n->next) {
		if (xml_is(n, "ip"))
			add_address(guest, xml_attribute(n, "address", word, sizeof(word)));
	}
	for (const struct xml_node *n = xml_children(filter); n; n = n->next) {
		if (!xml_is(n, "parameter"))
			continue;
		xml_attribute(n, "name", key, sizeof(key));
		if (strcmp(key, "IP") == 0 || strcmp(key, "IPV6") == 0)
			add_address(guest, xml_attribute(n, "value", word, sizeof(word)));
	}
}

static void add_interface(json_t *guest, const struct xml_node *interface)
{
	char type[32], mac[32], dev[32];
	const char *why;

	xml_attribute(interface, "type", type, sizeof(type));
	xml_attribute(xml_child(interface, "mac"), "address", mac, sizeof(mac));
	xml_attribute(xml_child(interface, "target"), "dev", dev, sizeof(dev));
	why = not_seen(type);
	if (why) {
		guest_remark(guest, "interface %s of type %s cannot be gated: it %s",
			     *mac ? mac : "without MAC", type, why);
		return;
	}
	if (*dev)
		guest_add(guest, "ports", dev);
	else
		guest_remark(guest, "interface %s has no device on the host now",
			     *mac ? mac : "without MAC");
	if (*mac)
		guest_add(guest, "macs", mac);
	add_addresses(guest, interface);
}

/* ---- metadata of OpenStack ---- */

static void add_nova(json_t *guest, const struct xml_node *metadata)
{
	const struct xml_node *instance = xml_child(metadata, "instance");
	const struct xml_node *project = xml_child(xml_child(instance, "owner"), "project");
	const struct xml_node *ports = xml_child(instance, "ports");
	char word[64];

	/* the number, since names of projects are unique within a domain only */
	if (*xml_attribute(project, "uuid", word, sizeof(word)) && gate_name_valid(word))
		json_object_set_new(guest, "tenant", json_string(word));
	for (const struct xml_node *p = xml_children(ports); p; p = p->next) {
		for (const struct xml_node *n = xml_is(p, "port") ? p->children : NULL; n;
		     n = n->next) {
			if (xml_is(n, "ip"))
				add_address(guest, xml_attribute(n, "address", word, sizeof(word)));
		}
	}
}

/* ---- one domain ---- */

static json_t *read_domain(const struct xml_node *domain)
{
	char name[256];
	json_t *guest = guest_new(xml_text(xml_child(domain, "name"), name, sizeof(name)));
	const struct xml_node *devices = xml_child(domain, "devices");

	for (const struct xml_node *n = guest ? xml_children(devices) : NULL; n; n = n->next) {
		if (xml_is(n, "interface"))
			add_interface(guest, n);
	}
	if (guest)
		add_nova(guest, xml_child(domain, "metadata"));
	return guest;
}

json_t *guest_from_xml(const char *text, size_t len, const char *what, struct gate_error *err)
{
	struct xml_node *document = xml_read(text, len);
	const struct xml_node *root = document;
	json_t *guest = NULL;

	if (xml_is(root, "domstatus"))
		root = xml_child(root, "domain");
	if (xml_is(root, "domain"))
		guest = read_domain(root);
	if (!guest)
		gate_error_set(err, GATE_ERR_USAGE, "%.200s is no definition of a libvirt domain",
			       what);
	xml_free(document);
	return guest;
}

/* ---- virsh ---- */

/* What virsh prints, its complaints going to our stderr. */
static int virsh(const char *const *args, char **text, size_t *len, struct gate_error *err)
{
	int pipefd[2], status, ret;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return gate_error_set(err, GATE_ERR_FAILED, "no pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		/* who is not root would be shown guests of his own, of whom there are none */
		if (geteuid() != 0)
			setenv("LIBVIRT_DEFAULT_URI", "qemu:///system", 0);
		if (dup2(pipefd[1], STDOUT_FILENO) >= 0)
			execvp("virsh", (char *const *)args);
		_exit(errno == ENOENT ? 127 : 126);
	}
	close(pipefd[1]);
	ret = pid < 0 ? gate_error_set(err, GATE_ERR_FAILED, "cannot run virsh: %s",
				       strerror(errno))
		      : guest_read_fd(pipefd[0], "what virsh says", text, len, err);
	close(pipefd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return ret;
	if (!ret && WIFEXITED(status) && WEXITSTATUS(status) == 127)
		ret = gate_error_set(
			err, GATE_ERR_FAILED,
			"there is no virsh here; give --from DIR with the domains' XML");
	else if (!ret && status)
		ret = gate_error_set(err, GATE_ERR_FAILED, "virsh %s failed", args[3]);
	if (ret) {
		free(*text);
		*text = NULL;
	}
	return ret;
}

static int read_running(const char *name, json_t *guests, struct gate_error *err)
{
	const char *const args[] = { "virsh",	 "--readonly", "--quiet", "dumpxml",
				     "--domain", name,	       NULL };
	char *text = NULL;
	json_t *guest;
	size_t len;
	int ret = virsh(args, &text, &len, err);

	if (ret)
		return ret;
	guest = guest_from_xml(text, len, name, err);
	free(text);
	return guest ? json_array_append_new(guests, guest) : -EINVAL;
}

static int from_virsh(const struct guest_names *names, json_t *guests, struct gate_error *err)
{
	const char *const args[] = { "virsh", "--readonly", "--quiet", "list", "--name", NULL };
	char *text = NULL, *line, *next;
	size_t len;
	int ret = virsh(args, &text, &len, err);

	for (next = text; !ret && (line = strsep(&next, "\n"));) {
		if (*line && guest_wanted(names, line))
			ret = read_running(line, guests, err);
	}
	free(text);
	return ret;
}

/* ---- files ---- */

static int take_text(char *text, size_t len, const char *what, const struct guest_names *names,
		     json_t *guests, struct gate_error *err)
{
	json_t *guest = guest_from_xml(text, len, what, err);
	const char *name = guest ? cli_str(guest, "name") : NULL;

	free(text);
	if (!guest)
		return -EINVAL;
	if (name && guest_wanted(names, name))
		return json_array_append_new(guests, guest);
	json_decref(guest);
	return 0;
}

static int from_directory(const char *path, const struct guest_names *names, json_t *guests,
			  struct gate_error *err)
{
	char **files = NULL, *text;
	size_t n = 0, len;
	int dir, ret = guest_list_files(path, ".xml", &files, &n, err);

	if (ret)
		return ret;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < n && !ret; i++) {
		ret = guest_read_file(dir, files[i], &text, &len, err);
		if (!ret)
			ret = take_text(text, len, files[i], names, guests, err);
	}
	if (dir >= 0)
		close(dir);
	guest_free_files(files, n);
	return ret;
}

int guests_libvirt(const char *from, const struct guest_names *names, json_t *guests,
		   struct gate_error *err)
{
	char *text;
	size_t len;
	int ret;

	if (!from)
		return from_virsh(names, guests, err);
	if (strcmp(from, "-") != 0)
		return from_directory(from, names, guests, err);
	ret = guest_read_fd(STDIN_FILENO, "stdin", &text, &len, err);
	return ret ? ret : take_text(text, len, "stdin", names, guests, err);
}
