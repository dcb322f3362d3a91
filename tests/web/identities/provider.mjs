// A provider of identities for tests: whoever types a name is that person, of the group `platform`.
// Arguments: the port, and the address to which people come back.
import { Provider } from 'oidc-provider';

const [port, back] = process.argv.slice(2);
const provider = new Provider(`http://localhost:${port}`, {
  clients: [{ client_id: 'surveil', client_secret: 'a secret of the client', redirect_uris: [back] }],
  pkce: { required: () => true, methods: ['S256'] },
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: ['platform'] }),
  }),
  features: { devInteractions: { enabled: true } },
  ttl: { Session: 600, Grant: 600, Interaction: 600, AccessToken: 600, IdToken: 600 },
  cookies: { keys: ['a key of a test'] },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
