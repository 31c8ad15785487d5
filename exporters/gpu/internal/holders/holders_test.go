package holders_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
)

const uid = "0f3c9a52-7f61-4c0e-9a53-2a4d8f1be0d7"

var id = strings.Repeat("0123456789abcdef", 4)

func TestParseCgroup(t *testing.T) {
	pod := holders.Group{PodUID: uid, ContainerID: id}
	unit := func(u string) holders.Group { return holders.Group{Holder: holders.Holder{Unit: u}} }
	job := func(j string) holders.Group { return holders.Group{Holder: holders.Holder{SlurmJob: j}} }
	for name, c := range map[string]struct {
		text string
		want holders.Group
	}{
		"a pod under the systemd driver and cgroup v2": {
			"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + id + ".scope\n", pod,
		},
		"a pod under the cgroupfs driver and cgroup v1": {
			"12:pids:/kubepods/besteffort/pod" + uid + "/" + id + "\n1:name=systemd:/kubepods/besteffort/pod" + uid + "/" + id + "\n", pod,
		},
		"a pod seen from inside another container's cgroup namespace": {
			"0::/../../kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/crio-" + id + ".scope", pod,
		},
		"a guaranteed pod in kind, nested in a container": {
			"0::/docker/" + strings.Repeat("f", 64) + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + id + ".scope", pod,
		},
		"a static pod, whose UID is a hash": {
			"0::/kubepods/burstable/pod" + strings.Repeat("ab", 16) + "/" + id,
			holders.Group{PodUID: strings.Repeat("ab", 16), ContainerID: id},
		},
		"a Slurm job under cgroup v2": {"0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n", job("4711")},
		"a Slurm job on one of several slurmds": {
			"0::/system.slice/node7_slurmstepd.scope/job_4711/step_batch/user/task_0\n", job("4711"),
		},
		"a Slurm job under cgroup v1 beside a session": {
			"4:devices:/slurm/uid_1000/job_4711/step_0\n1:name=systemd:/system.slice/slurmd.service\n", job("4711"),
		},
		"a service":              {"0::/system.slice/ollama.service\n", unit("ollama.service")},
		"a user's service":       {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service\n", unit("jupyter.service")},
		"an SSH session":         {"0::/user.slice/user-1000.slice/session-3.scope\n", unit("session-3.scope")},
		"a service's own groups": {"0::/system.slice/ray.service/workers/1\n", unit("ray.service")},
		"a unit of cgroup v1":    {"3:cpu:/\n1:name=systemd:/system.slice/ollama.service\n0::/system.slice/ollama.service\n", unit("ollama.service")},
		"a Docker container": {
			"0::/system.slice/docker-" + id + ".scope\n",
			holders.Group{ContainerID: id, Holder: holders.Holder{Container: id[:12]}},
		},
		"a process outside of everything": {"0::/\n", unit("(none)")},
		"an empty file":                   {"", unit("(none)")},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, holders.ParseCgroup(c.text)) })
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("0::/system.slice/ollama.service\n")
	f.Add("4:devices:/slurm/uid_1000/job_4711/step_0")
	f.Fuzz(func(t *testing.T, text string) {
		g := holders.ParseCgroup(text)
		if g.PodUID == "" {
			require.NotEqual(t, holders.Holder{}, g.Holder, "every process is somebody's")
		}
	})
}

func TestEndedProcessIsUnknown(t *testing.T) {
	require.Equal(t, holders.Holder{Unit: "(unknown)"}, holders.ProcessGroup(t.TempDir(), 1).Holder)
}

func TestContainerNamesComeFromTheFolderOfLogs(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(0, 0)
	names := holders.NewContainerNames(dir, func() time.Time { return now })
	_, ok := names.Find(id)
	require.False(t, ok)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "trainer-0_research_main-loop-"+id+".log"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "unrelated.log"), nil, 0o600))
	_, ok = names.Find(id)
	require.False(t, ok, "the folder is not listed for every unknown process")

	now = now.Add(time.Minute)
	h, ok := names.Find(id)
	require.True(t, ok)
	require.Equal(t, holders.Holder{Namespace: "research", Pod: "trainer-0", Container: "main-loop"}, h)
}

func TestDeviceIs(t *testing.T) {
	whole := holders.Device{UUIDs: []string{"GPU-1"}, Minor: "3"}
	slice := holders.Device{UUIDs: []string{"MIG-1", "MIG-2"}, Minor: "3", Instance: "9"}
	for _, id := range []string{"GPU-1", "GPU-1::4", "nvidia3", "nvidia3/vgpu1", "gpu-3"} {
		require.True(t, whole.Is(id), id)
		require.False(t, slice.Is(id), id)
	}
	for _, id := range []string{"MIG-2", "MIG-1::0", "nvidia3/gi9", "nvidia3/gi9/vgpu0"} {
		require.True(t, slice.Is(id), id)
		require.False(t, whole.Is(id), id)
	}
	for _, id := range []string{"", "GPU-10", "nvidia30", "nvidia", "gpu-"} {
		require.False(t, whole.Is(id), id)
		require.False(t, holders.Device{UUIDs: []string{"GPU-1"}}.Is(id), id)
	}
}

func TestJobs(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0"), []byte("41\n\n42\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0.7"), []byte(`a "quoted" job`), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "2"), 0o700))

	jobs, err := holders.Jobs(dir, "0", "")
	require.NoError(t, err)
	require.Equal(t, []holders.Holder{{SlurmJob: "41"}, {SlurmJob: "42"}}, jobs)
	jobs, err = holders.Jobs(dir, "0", "7")
	require.NoError(t, err)
	require.Equal(t, []holders.Holder{{SlurmJob: `a "quoted" job`}}, jobs)
	jobs, err = holders.Jobs(dir, "1", "")
	require.NoError(t, err)
	require.Empty(t, jobs)
	_, err = holders.Jobs(dir, "2", "")
	require.ErrorContains(t, err, "read the jobs of GPU 2")
	jobs, err = holders.Jobs("", "0", "")
	require.NoError(t, err)
	require.Empty(t, jobs)
}

// kubelet is a kubelet with the pods of a node.
type kubelet struct {
	podresources.UnimplementedPodResourcesListerServer
}

func (kubelet) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	return &podresources.ListPodResourcesResponse{PodResources: []*podresources.PodResources{
		{Name: "trainer-0", Namespace: "research", Containers: []*podresources.ContainerResources{{
			Name: "main",
			Devices: []*podresources.ContainerDevices{
				{ResourceName: "nvidia.com/gpu", DeviceIds: []string{"GPU-1", "GPU-2::3"}},
				{ResourceName: "nvidia.com/mig-1g.10gb", DeviceIds: []string{"MIG-1"}},
				{ResourceName: "vendor.com/nic", DeviceIds: []string{"eth1"}},
			},
		}}},
		{Name: "notebook", Namespace: "lab", Containers: []*podresources.ContainerResources{{
			Name:    "jupyter",
			Devices: []*podresources.ContainerDevices{{ResourceName: "example.com/fast-gpu", DeviceIds: []string{"nvidia3"}}},
			DynamicResources: []*podresources.DynamicResource{{ClaimResources: []*podresources.ClaimResource{
				{DriverName: "gpu.nvidia.com", DeviceName: "gpu-4"}, {DriverName: "net.example.com", DeviceName: "gpu-5"},
			}}},
		}}},
	}}, nil
}

func TestKubeletListsWhoHoldsAGPU(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "kubelet.sock")
	client, err := holders.DialKubelet(socket, []string{"example.com/fast-gpu"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = client.List(ctx)
	require.ErrorContains(t, err, "list pod resources", "a socket that is not there yet is no reason not to start")

	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, kubelet{})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)

	main := holders.Holder{Namespace: "research", Pod: "trainer-0", Container: "main"}
	jupyter := holders.Holder{Namespace: "lab", Pod: "notebook", Container: "jupyter"}
	var got []holders.Allocation
	require.Eventually(t, func() bool {
		got, err = client.List(ctx)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "the client finds the socket when it appears")
	require.Equal(t, []holders.Allocation{
		{"GPU-1", main}, {"GPU-2::3", main}, {"MIG-1", main}, {"nvidia3", jupyter}, {"gpu-4", jupyter},
	}, got)
}
