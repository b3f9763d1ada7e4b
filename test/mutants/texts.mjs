import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin';

/**
 * What is left as it is, because nobody decides by it: sentences for people. Their wording is checked by those who read
 * them, and docs/ shows the same ones, made from the code.
 */
const members = new Map([
  ['summary', 'OpenAPI: a sentence for readers'],
  ['description', 'OpenAPI and settings: a sentence for readers'],
  ['unit', 'settings: a word for readers'],
  ['when', 'a sentence of docs/errors.md'],
  ['remedy', 'a sentence of docs/errors.md'],
  ['help', 'a sentence of /metrics'],
]);

const ignorer = {
  shouldIgnore({ node, parent }) {
    if (node.type === 'ObjectProperty' && !node.computed) return members.get(node.key.name);
    // Whether a line is written is behaviour; what it says is not. The first argument of `audit()` is the event.
    if (parent?.type === 'CallExpression' && parent.arguments.includes(node) && isSentence(parent, node))
      return 'a sentence of the log';
    return undefined;
  },
};

function isSentence({ callee, arguments: given }, node) {
  if (!/^(?:StringLiteral|TemplateLiteral|BinaryExpression)$/.test(node.type)) return false;
  if (callee.name === 'audit') return node === given[2];
  const { object, property } = callee;
  const log = object?.name ?? object?.property?.name ?? object?.property?.id?.name;
  return log === 'log' && /^(?:debug|info|warn|error|fatal)$/.test(property.name);
}

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, 'texts', ignorer)];
