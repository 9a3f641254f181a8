// oidc-provider on Redis, set up to do the same work. Environment: PORT, ALG (RS256 or ES256), REDIS_URL
import { generateKeyPairSync } from 'node:crypto';
import Redis from 'ioredis';
import { Provider } from 'oidc-provider';

const { PORT, ALG, REDIS_URL } = process.env;
const redis = new Redis(REDIS_URL);
const pairs = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};
const key = (alg) => ({ ...pairs[alg]().privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `k-${alg}` });
const keys = [...new Set([ALG, 'RS256'])].map(key);
const withGrant = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);

class RedisAdapter {
  constructor(model) { this.model = model; }

  key(id) { return `oidc:${this.model}:${id}`; }

  async upsert(id, payload, seconds) {
    const write = redis.pipeline();
    write.set(this.key(id), JSON.stringify(payload), 'EX', seconds || 14 * 86400);
    if (withGrant.has(this.model) && payload.grantId) {
      write.sadd(`oidc:grant:${payload.grantId}`, this.key(id));
      write.expire(`oidc:grant:${payload.grantId}`, 14 * 86400);
    }
    if (payload.uid) write.set(`oidc:uid:${payload.uid}`, id, 'EX', seconds || 14 * 86400);
    await write.exec();
  }

  async find(id) {
    const found = await redis.get(this.key(id));
    return found ? JSON.parse(found) : undefined;
  }

  async findByUid(uid) {
    const id = await redis.get(`oidc:uid:${uid}`);
    return id ? this.find(id) : undefined;
  }

  async findByUserCode() { return undefined; }

  async destroy(id) { await redis.del(this.key(id)); }

  async consume(id) {
    const found = await this.find(id);
    if (found) await redis.set(this.key(id), JSON.stringify({ ...found, consumed: Math.floor(Date.now() / 1000) }), 'KEEPTTL');
  }

  async revokeByGrantId(grantId) {
    const members = await redis.smembers(`oidc:grant:${grantId}`);
    await redis.del(`oidc:grant:${grantId}`, ...members);
  }
}

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  adapter: RedisAdapter,
  clients: [{
    client_id: 'bench', client_secret: 'bench-secret-bench-secret-bench-secret', redirect_uris: ['http://127.0.0.1:9/cb'],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'], response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: ALG, scope: 'openid profile email offline_access reports:read',
  }],
  scopes: ['openid', 'profile', 'email', 'offline_access', 'reports:read'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `Name ${id}`, preferred_username: id, email: `${id}@example.org`, email_verified: true }),
  }),
  features: { devInteractions: { enabled: true }, clientCredentials: { enabled: true }, introspection: { enabled: true }, revocation: { enabled: true } },
  cookies: { keys: ['bench-cookie-key-1'] },
  jwks: { keys },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: 600, AuthorizationCode: 60, IdToken: 600, RefreshToken: 14 * 86400, Session: 14 * 86400,
    Grant: 14 * 86400, Interaction: 600,
  },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(Number(PORT), '127.0.0.1');
