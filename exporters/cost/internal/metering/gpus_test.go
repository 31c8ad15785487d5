package metering

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMIGCostIsDividedByInstances(t *testing.T) {
	t.Parallel()
	rules := []Holder{{Pod: "a-*", Owner: Owner{"a", "small"}}, {Pod: "b-*", Owner: Owner{"b", "large"}}}
	type part struct {
		share, busy float64
		holders     []Owner
	}
	for name, tc := range map[string]struct {
		series []string
		gpu    string
		want   map[string]part // by instance
	}{
		"1g is busy and 4g idle: a seventh is busy, four sevenths are held, and two are nobody's": {
			[]string{
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1",gpu_instance="7"} 1x10`,
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1",gpu_instance="1"} 0x10`,
				`gpu_info{uuid="GPU-1",instance="n:1",gpu_instance="7",name="NVIDIA H100 80GB HBM3 MIG 1g.10gb"} 1x10`,
				`gpu_info{uuid="GPU-1",instance="n:1",gpu_instance="1",name="NVIDIA H100 80GB HBM3 MIG 4g.40gb"} 1x10`,
				`gpu_info{uuid="GPU-1",instance="n:1",name="NVIDIA H100 80GB HBM3"} 1x10`,
				`gpu_allocation_info{uuid="GPU-1",instance="n:1",gpu_instance="7",pod="a-1"} 1x10`,
				`gpu_allocation_info{uuid="GPU-1",instance="n:1",gpu_instance="1",pod="b-1"} 1x10`,
			},
			"NVIDIA H100 80GB HBM3",
			map[string]part{"7": {1. / 7, 1, []Owner{{"a", "small"}}}, "1": {4. / 7, 0, []Owner{{"b", "large"}}}, "none": {2. / 7, 0, nil}},
		},
		"as dcgm-exporter has it": {
			[]string{
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1",gpu_instance="7",source="dcgm-exporter"} 0.5x10`,
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1",gpu_instance="1",source="dcgm-exporter"} 0x10`,
				`DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",instance="n:1",GPU_I_ID="7",GPU_I_PROFILE="1g.10gb",modelName="NVIDIA H100 80GB HBM3"} 0.5x10`,
				`DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",instance="n:1",GPU_I_ID="1",GPU_I_PROFILE="4g.40gb",modelName="NVIDIA H100 80GB HBM3"} 0x10`,
			},
			"NVIDIA H100 80GB HBM3",
			map[string]part{"7": {1. / 7, 0.5, nil}, "1": {4. / 7, 0, nil}, "none": {2. / 7, 0, nil}},
		},
		"as nvidia_gpu_exporter has it, on a GPU with four slices": {
			[]string{
				`gpu:gpu_utilization:ratio{uuid="GPU-a",instance="n:1",gpu_instance="3"} 1x10`,
				`nvidia_smi_mig_info{uuid="a",instance="n:1",mig_uuid="MIG-1",gpu_instance_id="3",profile="2g.12gb+me"} 1x10`,
				`nvidia_smi_gpu_info{uuid="a",instance="n:1",name="NVIDIA A30"} 1x10`,
			},
			"NVIDIA A30",
			map[string]part{"3": {2. / 4, 1, nil}, "none": {2. / 4, 0, nil}},
		},
		"profiles that nobody tells have equal parts": {
			[]string{
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1",gpu_instance="1"} 1x10`,
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1",gpu_instance="2"} 0x10`,
				`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1"} 0.5x10`,
			},
			"",
			map[string]part{"1": {0.5, 1, nil}, "2": {0.5, 0, nil}},
		},
		"a card that is whole": {
			[]string{`gpu:gpu_utilization:ratio{uuid="GPU-1",instance="n:1"} 0.5x10`, `gpu_info{uuid="GPU-1",instance="n:1",name="NVIDIA L4"} 1x10`},
			"NVIDIA L4",
			map[string]part{"": {0, 0.5, nil}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := map[string]part{}
			for _, g := range used(t, rules, tc.series...).GPUs {
				require.Equal(t, tc.gpu, g.Name, "its price is that of the card")
				require.Equal(t, "n:1", g.Node)
				found[g.Instance] = part{g.Share, g.Busy, g.Holders}
			}
			require.Len(t, found, len(tc.want))
			for instance, want := range tc.want {
				require.InDelta(t, want.share, found[instance].share, 1e-9, instance)
				require.InDelta(t, want.busy, found[instance].busy, 1e-9, instance)
				require.Equal(t, want.holders, found[instance].holders, instance)
			}
		})
	}
}

// A GPU for C$4 an hour: a pays one seventh for its 1g instance, b the four idle sevenths that it holds.
func TestMIGInstanceCostsItsShareOfTheGPU(t *testing.T) {
	t.Parallel()
	got := marginal(hour(t, Usage{GPUs: []GPU{
		{Name: "H100", UUID: "a", Instance: "7", Share: 1. / 7, Busy: 1, Holders: []Owner{{"a", "small"}}},
		{Name: "H100", UUID: "a", Instance: "1", Share: 4. / 7, Holders: []Owner{{"b", "large"}}},
		{Name: "H100", UUID: "a", Instance: "none", Share: 2. / 7},
	}}))
	require.InDeltaMapValues(t, map[Key]float64{
		{Counter: Spend, Resource: "gpu", Department: "a", Model: "small"}: 4. / 7,
		{Counter: Idle, Kind: Allocated, Department: "b"}:                  16. / 7,
		{Counter: Idle, Kind: Unallocated, Department: Unallocated}:        8. / 7,
		{Counter: GPUTotal}: 4, {Counter: Infrastructure}: 4,
	}, got, 1e-9)
}

func TestMIGInstancesOfAGPUMakeOneGPUHour(t *testing.T) {
	t.Parallel()
	all := hour(t, Usage{GPUs: []GPU{{Name: "H100", Share: 1. / 7}, {Name: "H100", Instance: "2", Share: 6. / 7}, {Name: "H100", UUID: "whole"}}})
	require.InDelta(t, 2, all[Key{Counter: GPUHours, Kind: noon.Format("2006-01")}], 1e-9)
}
