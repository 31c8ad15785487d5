"""Holds the dashboards against the types that Grafana publishes: check.py <folder with node_modules> <folder of dashboards>.

Each part of a dashboard becomes a constant of its type in a TypeScript file, and the compiler says what no version, or only another one, knows.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

PANELS = {"timeseries": "timeseries", "stat": "stat", "table": "table", "state-timeline": "statetimeline", "barchart": "barchart", "heatmap": "heatmap"}

# Options that some versions do not have. Without them a panel is as it is by default, so they may be there.
NOT_IN_EVERY_VERSION = {"footer", "enablePagination", "perPage", "percentChangeColorMode", "selectionMode"}

# What Grafana itself saves and its published types leave out.
LEFT_OUT = {
    "variable": {"allowCustomValue", "auto", "auto_count", "auto_min", "definition"},
    "annotation": {"expr", "tagKeys", "target", "textFormat", "titleFormat", "useValueForTime"},
}


def union(enumeration):
    """Makes an enumeration the union of its values, since JSON has texts."""
    values = re.findall(r'= *("[^"]*"|-?[0-9]+)', enumeration[2])
    return f"export type {enumeration[1]} = {' | '.join(values)};"


def types(package, folder):
    """Copies the declarations of a package, so that each import is found in the folder."""
    source = package / "dist" / "types"
    if not source.is_dir():
        source = package / "dist" / "esm"
    for file in source.rglob("*.d.ts"):
        relative = file.relative_to(source)
        if relative.parts[0] not in ("raw", "common"):
            continue
        text = re.sub(r"export declare enum (\w+) \{([^}]*)\}", union, file.read_text())
        up = "../" * (len(relative.parts) - 1) or "./"
        copy = folder / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text.replace("'@grafana/schema'", f"'{up}common/common.gen'"))


def property_type(panel, name):
    """Is the type of an option of a field that a panel overrides. The published types name those of all panels one by one."""
    known = {"color": "FieldColor", "thresholds": "ThresholdsConfig", "mappings": "ValueMapping[]", "custom.hideFrom": 'timeseries.FieldConfig["hideFrom"]'}
    if name == "custom.hidden":
        return None  # Tables before 12.2 have it, later ones hideFrom.
    if name.startswith("custom.") and name not in known:
        return f'{panel}.FieldConfig["{name.split(".")[1]}"]' if name.count(".") == 1 else None
    return known.get(name)


def constants(dashboards):
    """Yields the type and the value of each part, and where it is."""
    for file in sorted(dashboards.glob("*.json")):
        dashboard = json.loads(file.read_text())
        panels, variables = dashboard.pop("panels"), dashboard.pop("templating")["list"]
        annotations, links = dashboard.pop("annotations")["list"], dashboard.pop("links")
        yield 'Omit<Dashboard, "panels" | "links" | "templating" | "annotations">', dashboard, file.name
        for kind, type_name, list_ in (("variable", "VariableModel", variables), ("annotation", "Partial<AnnotationQuery>", annotations), ("link", "DashboardLink", links)):
            for one in list_:
                yield type_name, {k: v for k, v in one.items() if k not in LEFT_OUT.get(kind, ())}, f"{file.name}, {kind} {one.get('name', '')}"
        while panels:
            panel = panels.pop(0)
            where = f"{file.name}, panel {panel['title']}"
            if panel["type"] == "row":
                panels = panel.pop("panels") + panels
                yield 'Omit<RowPanel, "panels">', panel, where
                continue
            of = PANELS[panel["type"]]
            options = {k: v for k, v in panel.pop("options").items() if k not in NOT_IN_EVERY_VERSION}
            custom = panel["fieldConfig"]["defaults"].pop("custom", None)
            del panel["targets"]  # Of the data source, not of the panel. The query test evaluates them.
            for override in panel["fieldConfig"]["overrides"]:
                for property_ in override["properties"]:
                    if (type_name := property_type(of, property_["id"])) is not None:
                        yield type_name, property_["value"], f"{where}, {property_['id']} of {override['matcher']['options']}"
            yield "Panel", panel, where
            yield f"Partial<{of}.Options>", options, where + ", options"
            if custom is not None:
                yield f"Partial<{of}.FieldConfig>", custom, where + ", custom options of fields"


def check(modules, version, dashboards):
    folder = modules.parent / version
    shutil.rmtree(folder, ignore_errors=True)
    types(modules / version, folder)

    def declared(of):
        return "./" + str(next((folder / "raw" / of).rglob("*.d.ts")).relative_to(folder)).removesuffix(".d.ts")

    imports = ['import { AnnotationQuery, Dashboard, DashboardLink, FieldColor, Panel, RowPanel, ThresholdsConfig, ValueMapping, VariableModel } from "%s";' % declared("dashboard/x")]
    imports += ['import * as %s from "%s";' % (of, declared(f"composable/{of}/panelcfg")) for of in PANELS.values()]
    parts = list(constants(dashboards))
    lines = imports + [f"export const c{i}: {of} = {json.dumps(value)};" for i, (of, value, _) in enumerate(parts)]
    file = folder / "check.ts"
    file.write_text("\n".join(lines))
    compiler = [str(modules / "typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    output = subprocess.run(["node", *compiler, str(file)], capture_output=True, text=True, check=False).stdout
    problems = 0
    for line in output.splitlines():
        if found := re.search(r"check\.ts\((\d+),\d+\): error \w+: (.*)", line):
            problems += 1
            print(f"Grafana {version.removeprefix('schema-')}: {parts[int(found[1]) - 1 - len(imports)][2]}: {found[2]}")
        elif not line.startswith(" "):
            problems += 1
            print(line)
    print(f"Grafana {version.removeprefix('schema-')}: {len(parts)} parts of {len(list(dashboards.glob('*.json')))} dashboards, {problems} that its types refuse")
    return problems


if __name__ == "__main__":
    folder, json_folder = map(pathlib.Path, sys.argv[1:])
    versions = sorted(p.name for p in (folder / "node_modules").glob("schema-*"))
    sys.exit(sum(check(folder / "node_modules", v, json_folder) for v in versions) > 0)
