// netron.mjs PACKAGE FILE...: prints for each file whether netron opens it; PACKAGE is the folder of the Python package,
// whose modules need no browser. One line a file: "reads" or "refuses", then the format or the reason.
import fs from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
const module = (name) => import(pathToFileURL(path.join(folder, name + '.js')));
const base = await module('base');
const view = await module('view');
const asset = (name) => fs.readFile(path.join(folder, name), 'utf-8');
const host = { environment: () => false, event() {}, exception() {}, trace() {}, require: module, asset };
for (const file of files) {
    try {
        const name = path.basename(file);
        const fetch = async (other) => new base.BinaryStream(await fs.readFile(path.join(path.dirname(file), other)));
        const context = { identifier: name, name, entries: new Map(), stream: await fetch(name), require: module,
                          asset, fetch, error() {} };
        const model = await new view.ModelFactoryService(host).open(context);
        console.log('reads', model.format);
    } catch (error) {
        console.log('refuses', error.message.split('\n')[0]);
    }
}
