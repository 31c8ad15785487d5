{
  'sightglass-data-quality.json': import 'dashboards/sightglass-data-quality.json',
  'sightglass-gpu.json': import 'dashboards/sightglass-gpu.json',
  'sightglass-response.json': import 'dashboards/sightglass-response.json',
}
