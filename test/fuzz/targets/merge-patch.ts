import { expect } from 'chai';
import fc from 'fast-check';
import { Session, type SessionError } from '../../../plugins/sessman/client/client.js';
import { applyMergePatch } from '../../../plugins/sessman/merge-patch.js';
import { startServer } from '../../support/server.js';
import { canonical, isMembers, type Members, memberName, trees, type Value } from '../support/trees.js';
import { plain, type Target } from '../target.js';

/** A tree without any object of JavaScript's, whose members inherit nothing. */
type Node = { readonly members: Map<string, Node> } | { readonly leaf: Value };

function nodeOf(value: Value): Node {
  if (!isMembers(value)) return { leaf: value };
  return { members: new Map(Object.entries(value).map(([name, member]) => [name, nodeOf(member)])) };
}

function textOf(node: Node): string {
  if ('leaf' in node) return canonical(node.leaf);
  const names = [...node.members.keys()].sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${textOf(node.members.get(name)!)}`).join()}}`;
}

/** RFC 7396, section 2. */
function patched(target: Node | undefined, patch: Node): Node {
  if ('leaf' in patch) return patch;
  const members = new Map(target !== undefined && 'members' in target ? target.members : []);
  for (const [name, value] of patch.members) {
    if ('leaf' in value && value.leaf === null) members.delete(name);
    else members.set(name, patched(members.get(name), value));
  }
  return { members };
}

const hostileName = fc.oneof(
  { weight: 4, arbitrary: memberName },
  fc.constantFrom('__proto__', 'hasOwnProperty', 'prototype', 'valueOf'),
);

/** As it comes from JSON text, in which `__proto__` is a name. */
const parsed = trees(hostileName).map((value) => JSON.parse(JSON.stringify(value)) as Members);

const rule: Target = {
  name: 'merge-patch-rule',
  property:
    'a merge patch gives what RFC 7396 says, whatever the names of its members, and changes no other object',
  inputs: { long: 300_000, quick: 500 },
  open: plain(
    fc.property(parsed, parsed, (target, patch) => {
      const expected = textOf(patched(nodeOf(target), nodeOf(patch)));
      const before = JSON.stringify(patch);
      expect(canonical(applyMergePatch(target as never, patch as never) as Members)).to.equal(expected);
      expect(JSON.stringify(patch)).to.equal(before);
      expect(Object.keys(Object.prototype)).to.deep.equal([]);
    }),
  ),
};

const maxData = 300;

const calls: Target = {
  name: 'merge-patch-call',
  property:
    'patches sent one after another leave the session as RFC 7396 says, in the store and in the client, unsaved changes included; one that makes it too large changes nothing',
  inputs: { long: 10_000, quick: 12 },
  async open() {
    const server = await startServer({
      ini: '[plugin_parms]\nsessman=json=sessman.json\n',
      files: { 'sessman.json': JSON.stringify({ max_data: maxData }) },
    });
    const options = { base_url: `${server.url}/sessman` };
    const data = trees(memberName);
    const property = fc.asyncProperty(
      data,
      fc.array(fc.tuple(data, fc.option(data, { freq: 3 }), fc.nat(20)), { minLength: 1, maxLength: 4 }),
      async (first, patches) => {
        fc.pre(Buffer.byteLength(JSON.stringify(first)) <= maxData);
        const session = await Session.create('mary', { ...options, data: structuredClone(first) });
        let stored = nodeOf(first);
        let held = stored;
        for (const [patch, unsaved, fill] of patches) {
          // A text that may be too long.
          if (fill > 15) patch.b = 'x'.repeat(fill * 15);
          if (unsaved) {
            // A copy in which no object stands in two places.
            Object.assign(session.data, JSON.parse(JSON.stringify(unsaved)));
            held = nodeOf(session.data as Members);
          }
          const next = patched(stored, nodeOf(patch));
          const isTooLarge = sizeOf(next) > maxData;
          const error = await session.patch(structuredClone(patch)).then(
            () => undefined,
            (thrown: SessionError) => thrown.code,
          );
          expect(error).to.equal(isTooLarge ? 'data_too_large' : undefined);
          if (!isTooLarge) {
            const isSaved = textOf(held) === textOf(stored);
            stored = next;
            held = isSaved ? next : patched(held, nodeOf(patch));
          }
          expect(canonical(session.data as Members)).to.equal(textOf(held));
          const read = await Session.open('mary', session.session_id!, options);
          expect(canonical(read.data as Members)).to.equal(textOf(stored));
        }
        await session.end();
      },
    );
    return { property, close: () => server.close() };
  },
};

/** Bytes of its JSON text. */
function sizeOf(node: Node): number {
  return Buffer.byteLength(textOf(node));
}

export const mergePatchTargets: readonly Target[] = [rule, calls];
