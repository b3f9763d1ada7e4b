/**
 * Prints how the code is laid out, and fails when the layout breaks its limits: `npm run house`.
 *
 * A room is a file or folder of the area; a room stands one floor above the highest room that it imports, types included.
 * An import that runs up, or a circle of files, makes the order of the floors meaningless: neither is allowed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

/** What each area may grow to. */
const limits = [
  { area: 'config', rooms: 30, floors: 14 },
  { area: 'host', rooms: 20, floors: 9 },
  { area: 'plugins/sessman', rooms: 12, floors: 4 },
];

const IMPORT = /^(?:import|export)\b[^;]*?from '(\.[^']+)';|\bimport\('(\.[^']+)'\)/gm;

function filesOf(area) {
  return readdirSync(join(root, area), { recursive: true })
    .filter((name) => /\.ts$/.test(name) && !name.endsWith('.d.ts'))
    .map((name) => join(area, name));
}

/** file -> the files of the area that it imports */
function importsOf(area) {
  const files = new Set(filesOf(area));
  return new Map(
    [...files].map((file) => {
      const text = readFileSync(join(root, file), 'utf8');
      const targets = [...text.matchAll(IMPORT)].map(([, from, dynamic]) =>
        relative(root, resolve(root, dirname(file), (from ?? dynamic).replace(/\.js$/, '.ts'))),
      );
      return [file, targets.filter((target) => files.has(target))];
    }),
  );
}

/** The strongly connected components of more than one node (Tarjan). */
function circlesOf(graph) {
  const index = new Map();
  const low = new Map();
  const stack = [];
  const circles = [];
  const visit = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node), low.get(next)));
    }
    if (low.get(node) !== index.get(node)) return;
    const circle = stack.splice(stack.indexOf(node));
    if (circle.length > 1) circles.push(circle);
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return circles;
}

function roomsOf(area, imports) {
  const roomOf = (file) => relative(area, file).split('/')[0];
  const rooms = new Map();
  for (const [file, targets] of imports) {
    const room = rooms.get(roomOf(file)) ?? new Set();
    for (const target of targets) if (roomOf(target) !== roomOf(file)) room.add(roomOf(target));
    rooms.set(roomOf(file), room);
  }
  return rooms;
}

function floorsOf(rooms) {
  const floors = new Map();
  const floorOf = (room, trail) => {
    if (trail.includes(room)) return 0;
    if (!floors.has(room))
      floors.set(
        room,
        1 + Math.max(0, ...[...rooms.get(room)].map((below) => floorOf(below, [...trail, room]))),
      );
    return floors.get(room);
  };
  for (const room of rooms.keys()) floorOf(room, []);
  return floors;
}

let failed = false;
for (const { area, ...limit } of limits) {
  const imports = importsOf(area);
  const rooms = roomsOf(area, imports);
  const floors = floorsOf(rooms);
  const height = Math.max(...floors.values());
  const roomCircles = circlesOf(rooms);
  const circles = circlesOf(imports);
  console.log(
    `${area}/: ${rooms.size} rooms on ${height} floors, ${roomCircles.length} imports up, ${circles.length} circles`,
  );
  for (let floor = height; floor > 0; floor -= 1) {
    const names = [...floors].filter(([, at]) => at === floor).map(([room]) => room);
    console.log(`  ${floor}  ${names.sort().join(' ')}`);
  }
  for (const circle of [...roomCircles, ...circles]) console.log(`  circle: ${circle.join(', ')}`);
  if (rooms.size > limit.rooms || height > limit.floors || roomCircles.length + circles.length > 0) {
    failed = true;
    console.error(
      `${area}/ breaks its limits: ${limit.rooms} rooms on ${limit.floors} floors, no import up, no circle`,
    );
  }
}
process.exitCode = failed ? 1 : 0;
