// fastify.js HOST PORT URL: a service that answers with what another one says.
const [host, port, url] = process.argv.slice(2);
const app = require('fastify')({ requestIdHeader: 'x-request-id' });

app.get('/', async (request) => {
	const answer = await fetch(url, { headers: { 'x-request-id': request.id } });
	return answer.json();
});
app.listen({ host, port: Number(port) });
