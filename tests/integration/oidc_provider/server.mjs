// An OpenID-certified issuer for the tests: `node server.mjs PORT ALGORITHM` (PORT 0: any free one; RS256 or ES256).
// It prints one line of JSON once it answers, has a signing key of its own that was never used before, so that a restart
// on the same port is a rotation, and ends with its parent.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const [port = '0', algorithm = 'RS256'] = process.argv.slice(2);

const { privateKey } = algorithm === 'RS256'
  ? generateKeyPairSync('rsa', { modulusLength: 2048 })
  : generateKeyPairSync('ec', { namedCurve: 'P-256' });

const client = (id) => ({
  client_id: id,
  client_secret: `${id}-secret`,
  redirect_uris: ['https://client.example/callback'],
  grant_types: ['authorization_code', 'client_credentials'],
  id_token_signed_response_alg: algorithm,
  token_endpoint_auth_method: 'client_secret_post',
});

// A public client, as a command line is one: the device flow (RFC 8628), with refresh tokens that rotate.
const commandLine = {
  client_id: 'keybroker-cli',
  redirect_uris: [],
  response_types: [],
  grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
  id_token_signed_response_alg: algorithm,
  token_endpoint_auth_method: 'none',
};

const configuration = {
  clients: [client('keybroker'), client('another'), commandLine],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: algorithm, use: 'sig' }] },
  cookies: { keys: ['signs the cookies of a test'] },
  features: {
    devInteractions: { enabled: true }, // any login with any password
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // An access token for any resource is a JWT (RFC 9068) with the audience of our ID tokens.
      getResourceServerInfo: () => ({
        scope: '',
        audience: 'keybroker',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
  ttl: { IdToken: 600, ClientCredentials: 600 },
};

const server = createServer().listen(Number(port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuer, configuration).callback());
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
