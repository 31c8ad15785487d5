{
  'sightglass-cost.json': import 'dashboards/sightglass-cost.json',
  'sightglass-data-quality.json': import 'dashboards/sightglass-data-quality.json',
  'sightglass-gpu.json': import 'dashboards/sightglass-gpu.json',
}
