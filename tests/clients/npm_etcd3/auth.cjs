// Users, roles and tokens through etcd3 of npm.
const etcd3 = require('etcd3');

const hosts = `http://${process.env.ENDPOINT}`;
const open = (username, password) =>
  new etcd3.Etcd3(username === undefined ? { hosts } : { hosts, auth: { username, password } });
const close = client => client.close();

async function check(text, test) {
  try {
    await test();
    console.log(`ok ${text}`);
  } catch (error) {
    console.log(`failed ${text}: ${error.name}: ${error.message}`);
  }
}

async function refused(promise, kind) {
  const error = await promise.then(() => null, caught => caught);
  if (!(error instanceof kind)) throw new Error(`${kind.name} expected, not ${error}`);
}

const same = (found, wanted) => {
  const [one, other] = [found, wanted].map(each => JSON.stringify(each));
  if (one !== other) throw new Error(`${one} is not ${other}`);
};
const names = async list => (await list).map(each => each.name).sort();

async function main() {
  const nobody = open();
  await check('roles and users are made and listed', async () => {
    const role = await nobody.role('writer').create();
    await role.grant({ permission: 'Readwrite', range: nobody.range({ prefix: 'app/' }) });
    await (await nobody.user('root').create('r')).addRole('root');
    await (await nobody.user('app').create('a')).addRole('writer');
    same(await names(nobody.getRoles()), ['writer']);
    same(await names(nobody.getUsers()), ['app', 'root']);
    same(await names(nobody.user('app').roles()), ['writer']);
    same((await role.permissions()).map(each => each.permission), ['Readwrite']);
  });
  await check('names that exist or do not are refused', async () => {
    await refused(nobody.role('writer').create(), etcd3.EtcdRoleExistsError);
    await refused(nobody.role('no').delete(), etcd3.EtcdRoleNotFoundError);
    await refused(nobody.user('app').create('a'), etcd3.EtcdUserExistsError);
    await refused(nobody.user('no').delete(), etcd3.EtcdUserNotFoundError);
    await refused(nobody.user('app').removeRole('no'), etcd3.EtcdRoleNotGrantedError);
    await refused(nobody.user('app').addRole('no'), etcd3.EtcdRoleNotFoundError);
  });
  await check('authentication is switched on', () => nobody.auth.authEnable());
  const root = open('root', 'r');
  const app = open('app', 'a');
  await check('a user writes and reads its range', async () => {
    await app.put('app/1').value('v');
    same(await app.get('app/1').string(), 'v');
    same(await app.getAll().prefix('app/').keys(), ['app/1']);
  });
  await check('a user is kept from other keys', async () => {
    await refused(app.put('other').value('v').exec(), etcd3.EtcdPermissionDeniedError);
    await refused(app.get('other').string(), etcd3.EtcdPermissionDeniedError);
    await refused(app.getAll().keys(), etcd3.EtcdPermissionDeniedError);
    const branches = app.if('app/1', 'Version', '==', 0).then(app.put('other').value('v'));
    await refused(branches.commit(), etcd3.EtcdPermissionDeniedError);
  });
  await check('a wrong password and an unknown user fail alike', async () => {
    for (const [user, password] of [['app', 'wrong'], ['no', 'a']]) {
      const other = open(user, password);
      await refused(other.get('app/1').string(), etcd3.EtcdAuthenticationFailedError);
      close(other);
    }
  });
  await check('nobody is refused', async () => {
    await refused(nobody.get('app/1').string(), Error);
  });
  await check('a user watches its range', async () => {
    const watcher = await app.watch().prefix('app/').create();
    const seen = new Promise(resolve => watcher.on('put', kv => resolve(kv.value.toString())));
    await app.put('app/2').value('seen');
    same(await seen, 'seen');
    await watcher.cancel();
  });
  await check('a lease of a user holds its keys', async () => {
    const lease = app.lease(60);
    await lease.put('app/leased').value('v');
    same(await app.get('app/leased').string(), 'v');
    await lease.revoke();
    same(await app.get('app/leased').string(), null);
  });
  await check('a client with a token that ended logs in again', async () => {
    await root.user('app').delete();
    await (await root.user('app').create('a')).addRole('writer');
    await app.put('app/1').value('again');
  });
  await check('a permission taken away counts at once', async () => {
    await root.user('app').removeRole('writer');
    await refused(app.put('app/1').value('v').exec(), etcd3.EtcdPermissionDeniedError);
  });
  await check('all is as before', async () => {
    await root.delete().prefix('app/');
    await root.auth.authDisable();
    for (const user of await nobody.getUsers()) await user.delete();
    for (const role of await nobody.getRoles()) await role.delete();
  });
  [nobody, root, app].forEach(close);
}

main();
