#include "proxy/mesh_version.h"

static bool to_version(struct span text, unsigned *version_r)
{
	unsigned long long n;

	if (!span_to_u64(text, MESH_VERSION_MOST, &n) || !n)
		return false;
	*version_r = (unsigned)n;
	return true;
}

bool mesh_version_parse(struct span value, struct mesh_version *version_r)
{
	struct span rest = value, part;

	*version_r = (struct mesh_version){ 0, 0 };
	if (!span_split(&rest, ';', &part) || !to_version(span_trim(part), &version_r->newest))
		return false;
	version_r->least = version_r->newest;
	while (span_split(&rest, ';', &part)) {
		part = span_trim(part);
		if (span_starts(part, SPAN("least=")) && !to_version(span_from(part, 6), &version_r->least))
			return false;
	}
	return version_r->least <= version_r->newest;
}

void mesh_version_add(struct buf *out)
{
	buf_add_z(out, MESH_VERSION_FIELD ": ");
	buf_add_number(out, MESH_VERSION);
	buf_add_z(out, "; least=");
	buf_add_number(out, MESH_VERSION_LEAST);
	buf_add_z(out, "\r\n");
}

bool mesh_version_fits(const struct mesh_version *a, const struct mesh_version *b)
{
	return a->least <= b->newest && b->least <= a->newest;
}
