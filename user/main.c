// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25d: the command line. */
#include "daemon.h"
#include "log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
	"Usage: gate25d [--config FILE] [--check-config]\n"
	"\n"
	"Gates outbound SMTP of virtual machines; gate25(1) talks to it.\n"
	"\n"
	"  -c, --config FILE   configuration (" GATE_DEFAULT_CONFIG ")\n"
	"      --check-config  read the configuration, say whether it is right\n"
	"      --version       print the version\n"
	"  -h, --help          print this\n";

enum { OPT_CHECK = 256, OPT_VERSION };

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int check_config(const struct gate_daemon_options *o)
{
	struct gate_config *c = NULL;
	struct gate_error err;

	if (gate_config_load(o->config, o->config_required, &c, &err)) {
		fprintf(stderr, "gate25d: %s\n", err.message);
		return EXIT_USAGE;
	}
	gate_config_free(c);
	puts("configuration ok");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct gate_daemon_options o = { .config = GATE_DEFAULT_CONFIG };
	bool check = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			o.config = optarg;
			o.config_required = true;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_VERSION:
			puts("gate25d " GATE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default: /* getopt has said what is wrong */
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gate25d: unexpected argument: %s\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (check)
		return check_config(&o);
	gate_log_init();
	return gate_daemon_run(&o);
}
