package metering

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
)

// physicalGPU identifies a physical GPU, whatever exporter instance it is scraped from. A restarted exporter may have another
// address.
type physicalGPU struct{ cluster, uuid model.LabelValue }

func physicalGPUOf(m model.Metric) physicalGPU {
	if m["uuid"] == "" {
		return physicalGPU{m["cluster"], m["instance"]}
	}
	return physicalGPU{m["cluster"], m["uuid"]}
}

// device is a physical GPU, or a MIG instance of one.
type device struct {
	physicalGPU
	instance model.LabelValue
}

func deviceOf(m model.Metric) device { return device{physicalGPUOf(m), m["gpu_instance"]} }

// nodeOf is the host of a GPU: the label node if the target has it, else the address of the exporter.
func nodeOf(m model.Metric) string { return string(cmp.Or(m["node"], m["instance"])) }

type queryFunc func(query, otherwise string) (model.Vector, error)

// gpus queries the GPUs with their names and holders.
func (p Prometheus) gpus(u *Usage, ask queryFunc) error {
	busy, err := ask(p.Queries.GPUs, defaults.GPUs)
	if err != nil || len(busy) == 0 {
		return err
	}
	named, err := ask(p.Queries.GPUNames, defaults.GPUNames)
	if err != nil {
		return err
	}
	held, err := ask(p.Queries.GPUHolders, defaults.GPUHolders)
	if err != nil {
		return err
	}
	names := make(map[device]string)
	for _, s := range named {
		names[deviceOf(s.Metric)] = string(s.Metric["name"])
	}
	holders := p.holders(held)
	devices := make(map[physicalGPU]map[model.LabelValue]*GPU)
	series := make(map[device]float64)
	for _, s := range busy {
		d := deviceOf(s.Metric)
		v, ok := amount(s)
		if !ok {
			continue
		}
		if devices[d.physicalGPU] == nil {
			devices[d.physicalGPU] = make(map[model.LabelValue]*GPU)
		}
		g := devices[d.physicalGPU][d.instance]
		if g == nil {
			g = &GPU{Cluster: string(d.cluster), Name: names[d], UUID: string(s.Metric["uuid"]), Instance: string(d.instance), Holders: holders[d]}
			devices[d.physicalGPU][d.instance] = g
		}
		// Several series of one device each cover a fraction of the step. Their mean is the value of the device.
		g.Node = max(g.Node, nodeOf(s.Metric))
		g.Busy = (g.Busy*series[d] + min(v, 1)) / (series[d] + 1)
		series[d]++
	}
	for c, parts := range devices {
		u.GPUs = append(u.GPUs, splitMIG(names[device{physicalGPU: c}], parts)...)
	}
	slices.SortFunc(u.GPUs, func(a, b GPU) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.UUID, b.UUID), cmp.Compare(a.Instance, b.Instance))
	})
	return nil
}

// profiles matches the compute slices in the name of a MIG profile: 3 in "NVIDIA A100-SXM4-40GB MIG 3g.20gb".
var profiles = regexp.MustCompile(`^(.*?) ?\bMIG (?:\d+c\.)?(\d+)g\.`)

// slices7 is the number of compute slices of most GPUs. fewSlices has the others, by name. The numbers are from
// "Supported GPUs" in NVIDIA's MIG user guide.
const slices7 = 7

var fewSlices = []struct {
	name   string
	slices float64
}{{"A30", 4}, {"RTX PRO 6000", 4}, {"RTX PRO 5000", 2}, {"RTX PRO 4500", 2}}

// splitMIG divides a GPU with MIG instances by the slices of its instances. Unused slices are idle. If the profile of an
// instance is not known, all instances have equal shares.
func splitMIG(name string, parts map[model.LabelValue]*GPU) []GPU {
	if g := parts[""]; g != nil && len(parts) == 1 {
		return []GPU{*g}
	}
	delete(parts, "") // The instances together are the GPU.
	var all []GPU
	used, known := 0.0, true
	for _, g := range parts {
		match := profiles.FindStringSubmatch(g.Name)
		if match == nil {
			known = false
			name = cmp.Or(name, g.Name)
			all = append(all, *g)
			continue
		}
		g.Share, _ = strconv.ParseFloat(match[2], 64)
		used += g.Share
		name = cmp.Or(name, match[1])
		all = append(all, *g)
	}
	total := float64(slices7)
	for _, few := range fewSlices {
		if strings.Contains(name, few.name) {
			total = few.slices
		}
	}
	total = max(total, used)
	for i := range all {
		all[i].Name = name
		if all[i].Share /= total; !known {
			all[i].Share = 1 / float64(len(all))
		}
	}
	if rest := 1 - used/total; known && rest > 1e-9 {
		all = append(all, GPU{Cluster: all[0].Cluster, Name: name, Node: all[0].Node, UUID: all[0].UUID, Instance: "none", Share: rest})
	}
	return all
}

// holders are the owners of the pods, jobs or units that hold each device. An owner of three pods occurs three times.
func (p Prometheus) holders(held model.Vector) map[device][]Owner {
	type holding struct {
		device
		namespace, pod, job, unit string
		owner                     Owner
	}
	seen := make(map[holding]bool)
	all := make(map[device][]Owner)
	for _, s := range held {
		// If the target has a label of the same name, Prometheus renames the holder's label to exported_….
		label := func(name model.LabelName) string {
			return string(cmp.Or(s.Metric["exported_"+name], s.Metric[name]))
		}
		h := Holder{
			Namespace: label("namespace"), Pod: label("pod"), Container: label("container"),
			SlurmJob: string(s.Metric["slurm_job"]), Unit: string(s.Metric["unit"]), Node: nodeOf(s.Metric),
		}
		// The containers of a pod count as one holder, unless rules distinguish them.
		key := holding{deviceOf(s.Metric), h.Namespace, h.Pod, h.SlurmJob, h.Unit, p.owner(h)}
		if !seen[key] {
			seen[key] = true
			all[key.device] = append(all[key.device], key.owner)
		}
	}
	return all
}

// owner applies the rules to a holder.
func (p Prometheus) owner(h Holder) Owner {
	for _, rule := range p.Holders {
		all := true
		for _, pair := range [][2]string{
			{rule.Namespace, h.Namespace},
			{rule.Pod, h.Pod},
			{rule.Container, h.Container},
			{rule.SlurmJob, h.SlurmJob},
			{rule.Unit, h.Unit},
			{rule.Node, h.Node},
		} {
			if ok, err := path.Match(pair[0], pair[1]); pair[0] != "" && (err != nil || !ok) {
				all = false
			}
		}
		if all {
			return rule.Owner
		}
	}
	return Owner{}
}
